"""Do streams that follow governance end, and say that they live?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.rpc import watching
from sealpress.rpc.watching import Watchers

LOOKS = 5  # between heartbeats
BEATS = 4


@pytest.mark.parametrize("busy", [False, True])
async def test_a_watcher_has_its_hour_and_no_more(monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """Also while governance changes all the time: its place is for others then."""
    look_s = 0.001
    monkeypatch.setattr(watching, "HEARTBEAT_S", LOOKS * look_s)
    monkeypatch.setattr(watching, "HEARTBEATS_MAX", BEATS)
    shared = SimpleNamespace(snapshot=object(), draining=False, failed=None)
    flow: Any = SimpleNamespace(shared=shared)
    beats = []
    with Watchers(flow, look_s=look_s).watching() as wakes:
        async for beat in wakes:
            beats.append(beat)
            assert len(beats) <= LOOKS * BEATS
            if busy:
                shared.snapshot = object()
    assert not beats[0]
    assert any(beats[1:]) != busy
