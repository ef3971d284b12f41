"""What to do about what a look at a module found (check.py): sentences for whoever sets up the HSM.

Guarantees: an empty list means that nothing was found that we know how to better. Does not: look at anything itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealpress.hsm.findings import ModuleFound, TokenFound

_ENOUGH = 0.95  # of the best rate: more sessions than that takes bring nothing
_DEADLINE_LATENCIES = 20  # a deadline that is no further away is met by an ordinary hiccup


def of_module(found: ModuleFound) -> list[str]:
    """About the module itself."""
    if found.problem:
        return [f"the module could not be looked at: {found.problem}"]
    if not found.locks:
        return ["the module has no locking of its own: one session is used, whatever `sessions` says"]
    return (
        []
        if found.tokens
        else ["the module shows no token: is it plugged in, and the module's own configuration right?"]
    )


def of_token(found: TokenFound, sessions: int, deadline_ms: int) -> list[str]:
    """About a token, as it is configured: `sessions` and `deadline_ms` of its slot; 0 of one that is not."""
    return [*_of_the_pin(found), *_of_the_keys(found), *_of_the_speed(found, sessions, deadline_ms)]


def _of_the_pin(found: TokenFound) -> Iterator[str]:
    if found.problem:
        yield found.problem
    if "USER_PIN_LOCKED" in found.flags:
        yield "the PIN is locked: have the security officer set a new one"
    elif "USER_PIN_FINAL_TRY" in found.flags:
        yield "one more wrong PIN locks the token: log in once by hand; until then nothing here tries"
    elif "USER_PIN_COUNT_LOW" in found.flags:
        yield "a wrong PIN was entered since the last login"
    if "USER_PIN_TO_BE_CHANGED" in found.flags:
        yield "the token wants its PIN changed first"
    if "SoftHSM" in found.maker:
        yield "SoftHSM keeps keys in files: for development and tests"


def _of_the_keys(found: TokenFound) -> Iterator[str]:
    for name in found.missing:
        yield f"key {name} is configured, and no key here has its `public_key`"
    for key in found.keys:
        what = key.key or key.label or key.cka_id
        if found.slot and not key.key:
            yield f"{what} (id {key.cka_id}) may sign and nobody configured it: configure it or take it away (GR-01)"
        if key.key and key.deviation:
            yield f"{what}: {key.deviation}; classes above `test` want it otherwise (GR-03)"
        if key.signature not in ("good", "untried"):
            yield f"{what} does not sign: {key.signature}"
        if not key.spki:
            yield f"{what} has no public key object of the same id and label: it cannot be told which key it is"


def _of_the_speed(found: TokenFound, sessions: int, deadline_ms: int) -> Iterator[str]:
    if found.sessions_max is not None and sessions > found.sessions_max:
        yield f"`sessions` is {sessions}, and the token allows {found.sessions_max} beside the one that logs in"
    if found.rates and sessions:
        best = max(rate.per_s for rate in found.rates)
        few = next(rate.sessions for rate in found.rates if rate.per_s >= _ENOUGH * best)
        if few < sessions:
            yield f"{few} sessions do as much as {sessions}: `sessions = {few}`"
        elif few == sessions == found.rates[-1].sessions and few > 1 and found.rates[-2].per_s < _ENOUGH * best:
            yield f"more sessions than {sessions} may bring more still"
    slowest_ms = max((key.latency_us for key in found.keys), default=0) // 1000
    least_ms = _DEADLINE_LATENCIES * slowest_ms
    if deadline_ms and least_ms > deadline_ms:
        yield f"one signature takes {slowest_ms} ms: `deadline_ms = {least_ms}` or more, not {deadline_ms}"
