"""What people and machines in a town do, and try to do: every verb of governance, one number choosing all of it.

`do(life, verb, number)` runs one deed; a refusal is a result like any other. Most choices are sensible, so that changes
get through and keys sign; the others are what an attacker, a careless person or bad luck would do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kit.changing import _wrong_report, approve, execute, pass_, propose, propose_key, propose_policy, take_back
from kit.life import Life
from kit.pick import Pick
from kit.town import sign_ask
from kit.townsfolk import (
    DAY_S,
    FIRMWARE,
    HOUR_S,
    LINES,
    LOW,
    MACHINES,
    RELEASE,
    TEST,
    certificate,
    token,
)
from sealpress.errors import Invalid, Refusal
from sealpress.governance import changes as c
from sealpress.values import Identity

WAITS_S = (1, 59, 60, 15 * 60, 15 * 60, HOUR_S, 8 * HOUR_S, DAY_S, 5 * DAY_S, 20 * DAY_S, 61 * DAY_S, 85 * DAY_S)


def stop(life: Life, pick: Pick) -> None:
    """One person stops something."""
    state = life.town.state
    subjects = {
        "key": [*state.keys],
        "grant": [*state.open_grants],
        "identity": [*state.identities],
        "binding": [*state.bindings],
        "credential": [*state.credentials],
        "offboard": [*state.identities],
    }
    what = pick.of(("key", "key", "grant", "grant", "identity", "identity", "binding", "credential", "offboard"))
    subject = pick.of(subjects[what] or ["nothing"])
    if what in ("identity", "credential") and not pick.odd(3):  # of those who matter just now
        given = [one for id_ in state.open_changes for one in state.changes[id_].approvals.values()]
        of_given = {
            "identity": [*(one.person for one in given), *MACHINES],
            "credential": [g.credential for g in given],
        }
        subject = pick.of(of_given[what] or [subject])
    reason = "" if pick.odd(20) else "an incident"
    life.town.stop(life.who(pick, "incident-responder", "security-officer"), what, subject, reason)


def requester(pick: Pick, line: str) -> Identity:
    """A pipeline, mostly the right one."""
    right = {
        TEST: (certificate("ci-test"), certificate("ci-app")),
        LOW: (certificate("ci-app"), certificate("ci-app", 1)),
        RELEASE: (certificate("ci-router"), token(), certificate("rex"), certificate("helper"), certificate("fab")),
        FIRMWARE: (token(), certificate("ci-router"), certificate("rex")),
    }[line]
    wrong = (
        certificate("mallory"), token(1, repository_id="81"), token(2, ref="refs/heads/main"), certificate("rita"),
        token(3, fork="true"), token(4, issuer="https://evil.example"), token(5, actor_id=""), certificate("ci-app"),
        certificate("ci-test"), certificate("olga"),
    )  # fmt: skip
    return pick.of(wrong) if pick.odd(5) else pick.of(right)


def request(life: Life, pick: Pick) -> None:
    """A pipeline asks for a grant."""
    line = pick.of((FIRMWARE, RELEASE, RELEASE, LOW, TEST))
    artifacts = pick.of(((1, 2), (1,), (3, 4, 5), (), (1, 1)))
    other: dict[str, Any] = pick.of(({}, {}, {}, {"ttl_s": 60}, {"algorithm": "sha384"}, {"reason": "x" * 5_000}))
    life.town.request(requester(pick, line), line, artifacts, **other)


def release(life: Life, pick: Pick) -> None:
    """A releaser lets a release go."""
    waiting = [name for name in life.town.state.open_grants if life.town.state.grants[name].issued.gates]
    life.town.release(pick.of(waiting or ["none"]), life.who(pick, "releaser"))


def _signing(life: Life, pick: Pick) -> tuple[Identity, str, Sequence[int], str]:
    """Who wants what signed, mostly what some grant allows."""
    line = pick.of((LOW, TEST, RELEASE, FIRMWARE))
    grants = [had.issued for had in life.town.state.grants.values() if had.issued.line == line and had.issued.digests]
    identity, artifacts, grant = requester(pick, line), pick.of(((1,), (1, 2), (7,), (3, 4, 5))), ""
    if grants and not pick.odd(5):
        chosen = grants[-1 - pick.below(min(3, len(grants)))]
        identity = next((one for one in (token(), certificate("ci-router"), certificate("rex"), certificate("helper"),
                                         certificate("fab")) if one.id == chosen.identity), identity)  # fmt: skip
        grant = pick.of((chosen.grant, ""))
    return identity, line, artifacts, grant


def sign(life: Life, pick: Pick) -> None:
    """A pipeline asks for signatures."""
    life.town.sign(*_signing(life, pick))


def admit(life: Life, pick: Pick) -> None:
    """A request is decided on now and appended later: something may come between."""
    identity, line, artifacts, grant = _signing(life, pick)
    from sealpress.governance.usage import decide

    ask = sign_ask(line, artifacts, grant)
    assert life.town.snapshot is not None
    if not decide(life.town.snapshot, life.town.ledger, identity, ask, life.town.now).automatic:
        life.waiting.append((identity, ask))


def append(life: Life, pick: Pick) -> None:
    """What waits is appended."""
    if life.waiting:
        life.town.append(*life.waiting.pop(pick.below(len(life.waiting))))


def wait(life: Life, pick: Pick) -> None:
    """Time passes; the clockwork runs, or is late."""
    life.town.wait(pick.of(WAITS_S), tick=not pick.odd(4))


def carry_on(life: Life, pick: Pick) -> None:
    """A whole piece of work at once: a release, a policy, a key."""
    pick.of((_carry_key, _carry_release, _carry_policy, _carry_release))(life, pick)


def _carry_release(life: Life, pick: Pick) -> None:
    """Asked for, approved, let go."""
    change_id = life.town.request(token(), pick.of((RELEASE, FIRMWARE, LOW)), (1, 2))
    pass_(life, Pick(0))
    life.town.release(life.town.grant_of(change_id), "lena")


def _carry_policy(life: Life, pick: Pick) -> None:
    """Proposed, approved, in force."""
    propose_policy(life, pick)
    pass_(life, Pick(0))
    life.town.wait(pick.of((15 * 60, 0)))


def _carry_key(life: Life, pick: Pick) -> None:
    """Issued, now and then by a custodian who errs, and activated."""
    state = life.town.state
    propose_key(life, Pick(pick.below(len(LINES))))
    pass_(life, Pick(0))
    change_id, change = next(reversed(state.changes.items()))
    life.town.execute(change_id, "ines", _wrong_report(life, pick, change, "ines") if pick.odd(2) else None)
    for key in [name for name, one in state.keys.items() if one.state == "pre_active"][:1]:
        life.town.propose("ines", "key.activate", c.KeyAct(key=key, line=state.keys[key].proposed.line))
        pass_(life, Pick(0))
        execute(life, Pick(0))


Deed = Callable[[Life, Pick], None]
DEEDS: dict[str, Deed] = {
    "wait": wait, "sign": sign, "propose": propose, "approve": approve, "pass": pass_, "execute": execute,
    "stop": stop, "take back": take_back, "request": request, "release": release, "admit": admit, "append": append,
    "carry on": carry_on,
}  # fmt: skip
VERBS = (
    "wait", "sign", "sign", "sign", "propose", "propose", "propose", "approve", "approve", "approve", "pass", "pass",
    "pass", "execute", "execute", "stop", "stop", "take back", "request", "request", "release", "admit", "append",
    "carry on", "carry on",
)  # fmt: skip


def do(life: Life, verb: str, number: int) -> None:
    """One deed; what it came to is counted."""
    life.steps += 1
    try:
        DEEDS[verb](life, Pick(number))
        life.results[f"{verb} done"] += 1
    except (Refusal, Invalid) as refusal:
        life.results[f"{verb} {refusal.reason}"] += 1
