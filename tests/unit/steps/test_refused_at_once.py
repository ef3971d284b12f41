"""Is one who could not be served in time told so at once, instead of waiting?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from kit.acme import TEST, ask, caller, digest
from kit.governed import Governed
from sealpress.errors import Busy
from sealpress.steps import admit
from sealpress.steps._ticket import Ticket
from sealpress.values import KeyClass

MS = 1_000_000


@pytest.mark.parametrize(("expires_ms", "served"), [(0, True), (499, False), (501, True)], ids=["any", "less", "more"])
async def test_who_has_less_time_than_the_row_takes_hears_it_now(tmp_path: Path, expires_ms: int, served: bool) -> None:
    """A direct line knows how long those before him take; a caller's deadline before that is a refusal, not a wait."""
    async with Governed(tmp_path, lines={TEST: KeyClass.TEST}, governed=False) as node:
        node.shared.lines[TEST].pace = SimpleNamespace(wait_ns=lambda: 500 * MS)  # type: ignore[assignment]
        expires_ns = node.clock.monotonic_ns() + expires_ms * MS if expires_ms else 0
        who = replace(caller(), expires_ns=expires_ns)
        if served:
            assert isinstance(admit.admit(node.shared, ask(TEST, digest(1)), who), Ticket)
            return
        with pytest.raises(Busy) as caught:
            admit.admit(node.shared, ask(TEST, digest(1)), who)

    assert (caught.value.reason, caught.value.retry_after_ms) == ("QUEUE_FULL", 500)
