"""What time does by itself: policies enter into force, proposals expire, keys end, due dates are told.

Guarantees: the same state and time give the same facts; a due date is told once (GR-110, 111, 113). Does not: act at
once: what must stop at its hour is refused by usage.py at its hour; this makes it a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

from sealpress.governance import changes as c
from sealpress.governance import counting, endings, paths, pending, releases, succession
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.governance.state import Approval, Change, Key

DAY_S = 86_400
WARN_DAYS = (7, 30, 60, 90)
CAP_WARN = 0.8
FACTS_MAX = 500  # of one look, and the few that belong to the last; the rest follows with the next

Groups = Callable[[str, str, str], frozenset[str]]  # paths.held, of this moment


def due(desk: Desk, signed: dict[str, int], facts_max: int | None = None) -> list[f.Fact]:
    """The facts that are due now, about `facts_max`. `signed`: by key, how many signatures it has made."""
    found: list[f.Fact] = []
    for together in _due(desk, signed):
        found += together
        if len(found) >= (FACTS_MAX if facts_max is None else facts_max):
            break
    return found


def _due(desk: Desk, signed: dict[str, int]) -> Iterator[list[f.Fact]]:
    """Each time what makes sense only together."""
    for scheduled in desk.state.scheduled.values():
        if scheduled.effective <= desk.now:
            yield from _policy(desk, desk.state.changes[scheduled.change_id])
            return  # what follows sees it
    groups = cache(partial(paths.held, desk))  # thousands of approvals are by a few persons
    for change_id in desk.state.open_changes:
        yield from _change(desk, desk.state.changes[change_id], groups)
    over = dict.fromkeys(desk.state.over_at(desk.now))
    for grant in over:
        yield [f.GrantMoved(grant=grant, verb="expire", actor="", reason="")]
    for moved in releases.outdated(desk, *pending.returning(desk)):  # one act with the return might have no room
        if moved.grant not in over:
            yield [moved]
    for name, key in desk.state.keys.items():
        yield _key(desk, name, key, signed.get(name, 0))


def _change(desk: Desk, change: Change, groups: Groups) -> Iterator[list[f.Fact]]:
    record = change.record
    if desk.now >= record.expires:
        yield endings.end(desk, record.change_id, "expire", None, "nobody decided in time")
        return
    known = desk.state.identities
    if not all(
        desk.state.counts(known[id_], desk.now) for id_ in pending.behind(desk, record.change_id) if id_ in known
    ):
        yield endings.desert(desk, record.change_id)
        return
    for given in change.approvals.values():
        if given.state != "counted":
            continue
        if desk.now >= given.expires:
            why = "an approval was over before the change was carried out"
            yield endings.end_approval(desk, change, given.person, "expire", None, why)
        elif _stopped(desk, change, given, groups):
            yield endings.outlived(desk, change, given.person)
        else:
            continue
        if change.state == "approved":
            return  # and with it the change is over


def _stopped(desk: Desk, change: Change, given: Approval, groups: Groups) -> bool:
    """Whether a stop left this one for later: else it would count again with a role that its person gets anew."""
    credential, record = desk.state.credentials.get(given.credential), change.record
    if credential is None or credential.revoked:
        return True
    return not paths.among(record, groups(given.person, record.line, record.kind))


def _policy(desk: Desk, change: Change) -> Iterator[list[f.Fact]]:
    """It decides, unless those who approved it were stopped while it waited: the former one is declared once more."""
    lacking = counting.missing_at_its_hour(desk, change)
    if lacking:
        alert = f.AlertRaised(name="alert.policy.dropped", subject=change.record.change_id, text=f"missing: {lacking}")
        yield [alert, f.PolicyInForce(body=desk.state.policy)]
        return
    asked = c.request_of(change.record)
    assert isinstance(asked, c.PolicyRequest)
    yield from succession.in_force(desk, asked.policy, change.record.change_id)


def _key(desk: Desk, name: str, key: Key, signed: int) -> list[f.Fact]:
    if key.state not in ("active", "suspended"):
        return []
    full = signed >= key.proposed.max_signatures
    if desk.now >= key.not_after or full:
        why = "max_signatures is reached" if full else "not_after has passed"
        return [f.KeyMoved(key=name, verb="deactivate", actor="", person="", reason=why)]
    told = [_alert(name, alert, text) for alert, text in _alerts(desk, key, signed) if alert not in key.alerted]
    return [*told]


def _alerts(desk: Desk, key: Key, signed: int) -> list[tuple[str, str]]:
    left_days = (key.not_after - desk.now) // DAY_S
    due_: list[tuple[str, str]] = []
    for days in WARN_DAYS:
        if left_days < days:
            due_.append((f"alert.key.ends.{days}d", f"the key ends in {left_days} days"))
            break
    if desk.now >= key.rotate_by:
        due_.append(("alert.key.rotate", "rotate_by has passed"))
    if signed >= CAP_WARN * key.proposed.max_signatures:
        due_.append(("alert.key.cap", f"{signed} of {key.proposed.max_signatures} signatures"))
    return due_


def _alert(key: str, name: str, text: str) -> f.AlertRaised:
    return f.AlertRaised(name=name, subject=key, text=text)
