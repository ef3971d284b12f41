"""Does the log find what it holds after the clock was set back?"""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

from kit.governed import LOW, Governed, ask, digest, until
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


async def test_a_clock_that_was_set_back_is_told_once_each_time(tmp_path: Path) -> None:
    """How far it stands behind the log; until it has caught up the signer refuses every new head as from the future."""
    async with Governed(tmp_path, lines={LOW: KeyClass.LOW}, profile="lab") as node:
        said = node.shared.telemetry._stream = io.StringIO()
        await node.begin()
        for times in (1, 2):
            node.clock.step(-3_600)
            await until(lambda times=times: said.getvalue().count("clock_stepped_back") == times)
            node.clock.advance(3_601)
            await node.sign(ask(LOW, digest(times)))
            await until(lambda: not node.logs["gov"].behind_ns)
            await asyncio.sleep(1.1)
    told = [one for one in map(json.loads, said.getvalue().splitlines()) if one["event"] == "clock_stepped_back"]
    assert ["warning"] * 2 == [one["level"] for one in told]
    assert all(3_590 < one["back_ns"] / NANOSECONDS <= 3_600 for one in told)
