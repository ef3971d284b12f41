"""The circuit breaker of a slot: rules on a clock of the test's."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sealpress.hsm.breaker import CLEAN, Backoff, Breaker, BreakerLimits, Phase

SECOND = 1_000_000_000


def make(errors: int = 3) -> tuple[Breaker, list[tuple[Phase, str]]]:
    """Three errors in ten seconds, and what it told."""
    told: list[tuple[Phase, str]] = []
    return Breaker(BreakerLimits(errors, 10 * SECOND), lambda phase, reason: told.append((phase, reason))), told


def test_errors_open_it_and_one_good_answer_closes_it() -> None:
    """The third error in ten seconds opens it; half open, one good answer closes it, and each step is told once."""
    breaker, told = make()
    for second in range(3):
        assert breaker.passes
        breaker.failed(second * SECOND, "CKR_0x30")
    assert (breaker.phase, breaker.passes, breaker.opened) == (Phase.OPEN, False, 1)
    breaker.worked()
    assert breaker.phase is Phase.OPEN
    breaker.half_open()
    assert (breaker.passes, breaker.trusts) == (True, False)
    breaker.worked()
    assert told == [(Phase.OPEN, "CKR_0x30"), (Phase.HALF_OPEN, "CKR_0x30"), (Phase.CLOSED, "")]


def test_rare_errors_do_not_open_it() -> None:
    """An error every six seconds is not three in ten."""
    breaker, told = make()
    for second in range(0, 600, 6):
        breaker.failed(second * SECOND, "CKR_0x30")
    assert (breaker.phase, told) == (Phase.CLOSED, [])


def test_a_bad_answer_half_open_opens_it_again() -> None:
    """Half open, the first error decides; errors from before it opened do not count after it closed."""
    breaker, _ = make()
    for _ in range(3):
        breaker.failed(0, "A")
    breaker.half_open()
    breaker.failed(SECOND, "B")
    assert (breaker.phase, breaker.reason, breaker.opened) == (Phase.OPEN, "B", 2)
    breaker.half_open()
    breaker.worked()
    breaker.failed(2 * SECOND, "A")
    breaker.failed(2 * SECOND, "A")
    assert breaker.phase is Phase.CLOSED


def test_a_quarantine_ends_with_several_good_answers() -> None:
    """A token that lied answers well CLEAN times in a row before it is trusted; one bad answer begins it anew."""
    breaker, _ = make()
    breaker.quarantine("WRONG_SIGNATURE")
    assert (breaker.phase, breaker.passes) == (Phase.QUARANTINED, False)
    breaker.half_open()
    for bad in (lambda: breaker.quarantine("WRONG_SIGNATURE"), lambda: breaker.failed(0, "CKR_0x30")):
        for _ in range(CLEAN - 1):
            breaker.worked()
            assert not breaker.trusts
        bad()
        breaker.half_open()
    for _ in range(CLEAN):
        assert not breaker.trusts
        breaker.worked()
    assert breaker.trusts


@given(st.lists(st.sampled_from(["worked", "failed", "quarantine", "half_open"]), max_size=60))
def test_it_is_trusted_only_after_a_good_answer(steps: list[str]) -> None:
    """Whatever happens in whichever order: from open to closed the way leads through a good answer half open."""
    breaker, told = make(errors=2)
    for step in steps:
        before = breaker.phase
        match step:
            case "failed":
                breaker.failed(0, "X")
            case "quarantine":
                breaker.quarantine("Y")
            case "worked":
                breaker.worked()
            case _:
                breaker.half_open()
        if breaker.trusts and before is not Phase.CLOSED:
            assert (before, step) == (Phase.HALF_OPEN, "worked")
    assert all(one != other for one, other in pairwise(told))


def test_waits_double_with_jitter_up_to_the_bound() -> None:
    """Each wait lies between the least one and a bound that doubles to 30 s; after a reset it begins anew."""
    backoff = Backoff(500, 30_000, Random(7).random)
    bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    waits = [backoff.next_ms() for _ in bounds]
    assert all(500 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len(set(waits[1:])) == len(waits) - 1
    backoff.reset()
    assert backoff.next_ms() == 500
