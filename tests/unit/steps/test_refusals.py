"""Is each refusal in the log told of who was refused, and of nobody else?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.acme import TEST, ask, caller, digest
from kit.governed import Governed, until
from sealpress.config import Limits
from sealpress.errors import NotPermitted
from sealpress.steps import _refusals
from sealpress.values import KeyClass, RecordType


async def test_a_record_that_many_share_names_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More names than are counted apart: what they did together is not said of the one who came first."""
    monkeypatch.setattr(_refusals, "IDENTITIES_MAX", 1)
    limits = Limits(refusals_per_minute_max=1)
    async with Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False, limits=limits) as node:
        for number in range(5):
            with pytest.raises(NotPermitted):
                await node.sign(ask(TEST, digest(number)), caller(f"uri:{number}"))
        node.flow.refusals.flush()
        await until(lambda: len(node.records(RecordType.REFUSAL)) == 3)
        events = [record.head.event for record in node.records(RecordType.REFUSAL)]

    assert [(event.identity, event.suppressed) for event in events] == [
        ("uri:0", 0), ("uri:1", 0), (_refusals.OTHERS, 3)
    ]  # fmt: skip
    assert (events[-1].cert_sha256, events[-1].source) == (b"", "")
