"""What is a request that comes again, by what the log says of the first one and how long ago that was?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kit.clock import VirtualClock
from sealpress.errors import OutcomeUnknown, Unavailable
from sealpress.steps import admit
from sealpress.tlog.entry import Where
from sealpress.tlog.known import KnownRequest, State
from sealpress.values import Mode

AGE_S_MAX = 300
ANY: Any = None


def judged(monkeypatch: pytest.MonkeyPatch, state: State, age_s: int, mode: Mode = Mode.PROOF) -> str:
    """`replay`, `new`, or why it is refused."""
    clock = VirtualClock()
    known = KnownRequest(bytes(16), 1, Where(0, 8192), 0, 1, clock.now_ns(), mode, state)
    clock.advance(age_s)
    monkeypatch.setattr(admit, "check_ready", lambda *_: None)
    shared: Any = SimpleNamespace(clock=clock, leaf_age_s_max=AGE_S_MAX)
    try:
        return "new" if admit._judge(shared, admit.Replay(ANY, ANY, known)) is None else "replay"
    except (OutcomeUnknown, Unavailable) as refusal:
        return refusal.reason


@pytest.mark.parametrize("mode", list(Mode))
def test_a_leaf_that_can_never_be_signed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """The signer takes none that is older than its age: the same id gets a new leaf from that second on."""
    assert judged(monkeypatch, State.PENDING, AGE_S_MAX + 1, mode) == "new"
    assert judged(monkeypatch, State.PENDING, AGE_S_MAX, mode) != "new"


def test_what_is_being_sealed_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof of the leaf that is there, not a second one."""
    assert judged(monkeypatch, State.PENDING, 1) == "replay"


def test_a_direct_leaf_that_may_be_in_the_token_is_not_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A former process may have had it signed: until its outcome is recorded the caller comes again."""
    assert judged(monkeypatch, State.PENDING, 1, Mode.DIRECT) == "SLOT_DOWN"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State.DONE, "replay"),
        (State.LAPSED, "new"),
        (State.UNKNOWN, "OUTCOME_UNKNOWN"),
        (State.STOPPED, "OUTCOME_UNKNOWN"),
    ],
)
def test_what_was_decided_stays_decided(monkeypatch: pytest.MonkeyPatch, state: State, said: str) -> None:
    """However long ago: an answer is given again, what lapsed begins anew, and what is unknown stays so."""
    assert {said} == {judged(monkeypatch, state, age_s) for age_s in (0, AGE_S_MAX, 10 * AGE_S_MAX)}
