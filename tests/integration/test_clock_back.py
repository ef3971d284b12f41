"""Does the log find what it holds after the clock was set back?"""

from __future__ import annotations

from pathlib import Path

from kit.governed import LOW, Governed, ask, digest
from sealpress.governance import facts as f
from sealpress.tlog.explain import parse_ulid
from sealpress.tlog.record import NANOSECONDS
from sealpress.values import KeyClass, RecordType


async def test_an_id_is_of_the_time_of_its_record(tmp_path: Path) -> None:
    """Explain looks for a grant where its id says; an hour before that there is another segment."""
    async with Governed(tmp_path, lines={LOW: KeyClass.LOW}, profile="lab") as node:
        await node.begin()
        node.clock.step(-3_600)
        await node.sign(ask(LOW, digest(1)))
        record = next(one for one in node.records(RecordType.GOVERNANCE) if one.head.event.kind == "grant.issued")
        issued = f.decode("grant.issued", record.head.event.body)
        assert isinstance(issued, f.GrantIssued)
        raw = parse_ulid(issued.grant)

        assert raw is not None
        made_s = int.from_bytes(raw[:6], "big") // 1_000
        assert record.time_ns // NANOSECONDS - 1 <= made_s <= record.time_ns // NANOSECONDS
