"""What must hold of a key that is asked for: its line's partition, its class's limits, its dates (GR-02, 83, 84, 110).

Guarantees: no class is below what the key is trusted for; nothing lives longer than its class. Does not: look at what
the custodian found (birth.py).
"""

from __future__ import annotations

import re

from sealpress.errors import Malformed, Precondition
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance import tables
from sealpress.governance.desk import Desk, check_owners, is_person
from sealpress.governance.rules import LineRules
from sealpress.values import KeyClass

DAY_S = 86_400
PERIOD_S = {
    KeyClass.TEST: 90 * DAY_S,
    KeyClass.LOW: 365 * DAY_S,
    KeyClass.RELEASE: 460 * DAY_S,
    KeyClass.FIRMWARE: 1_095 * DAY_S,
    KeyClass.ROOT: 1_095 * DAY_S,
}
EXTENSION_S_MAX = 90 * DAY_S
SIGNATURES_MAX = 100_000_000
FLEET_MAX = 1 << 53  # any reader of the record has such a number, and so has a snapshot of the state
FLOOR_TRUSTS = frozenset({"firmware", "boot", "recovery_path"})
TRUST = re.compile(r"[a-z0-9][a-z0-9._-]*")
EXTENDABLE = frozenset({"pre_active", "active", "suspended"})


def check_key(desk: Desk, kind: str, asked: c.KeyRequest, change_id: str) -> None:
    """What the key will be, beside its line's rules and its class's limits."""
    rules = desk.rules(asked.line)
    former = desk.state.keys.get(asked.key)
    if former is not None and not former.never_was and former.proposed.change_id != change_id:
        raise Precondition(f"the key id {asked.key} is taken", reason="KEY_TAKEN", hint="choose another id")
    _check_form(asked, rules)
    if asked.environment != asked.line.split("/")[3] or (rules.environment and asked.environment != rules.environment):
        raise Malformed("the environment is not that of the line", reason="PARTITION", hint="a key serves one line")
    if asked.purpose != asked.line.split("/")[4]:
        raise Malformed("the purpose is not that of the line", reason="PARTITION", hint="a key serves one line")
    if (asked.class_ is KeyClass.TEST) != (asked.environment == "test"):
        raise Malformed(
            "class test and environment test go together",
            reason="PARTITION",
            hint="test never meets production (GR-84)",
        )
    if not all(TRUST.fullmatch(trust) for trust in asked.trusts) or not rules.trusts <= set(asked.trusts):
        raise Malformed(
            f"a key is trusted at least as its line, in the policy's words: {', '.join(sorted(rules.trusts)) or '-'}",
            reason="TRUSTS_WRONG",
            hint="approvers read how far it reaches: firmware, boot, recovery_path, ... in small letters",
        )
    if FLOOR_TRUSTS & set(asked.trusts) and asked.class_ not in (KeyClass.FIRMWARE, KeyClass.ROOT):
        raise Malformed(
            "what is trusted for firmware, boot or recovery needs class firmware or root", reason="CLASS_FLOOR"
        )
    if not asked.not_before < asked.rotate_by <= asked.not_after or asked.not_after <= desk.now:
        raise Malformed("dates must be not_before < rotate_by <= not_after, and not over", reason="BAD_DATES")
    if asked.not_after - asked.not_before > PERIOD_S[asked.class_]:
        raise Malformed(
            f"a key of class {asked.class_} lives at most {PERIOD_S[asked.class_] // DAY_S} days",
            reason="PERIOD_TOO_LONG",
        )
    if asked.max_signatures > SIGNATURES_MAX:
        raise Malformed(f"max_signatures is at most {SIGNATURES_MAX}", reason="CAP_TOO_HIGH")
    if asked.fleet_estimate > FLEET_MAX:
        raise Malformed(f"fleet_estimate is at most {FLEET_MAX}", reason="BAD_REQUEST", hint="the number of devices")
    if kind == "key.adopt" and not asked.accepted_risk:
        raise Malformed(
            "nobody can prove where an adopted key was born",
            reason="RISK_MISSING",
            hint="say in `accepted_risk` why that is acceptable",
        )
    check_owners(desk, asked.owner, asked.backup_owner)
    if asked.owner == asked.backup_owner:
        raise Malformed("owner and backup owner are one person", reason="OWNER_UNKNOWN", hint="name two persons")


def check_act(desk: Desk, kind: str, asked: c.KeyAct) -> None:
    """An arrow of the table; the key that takes a line over is one that it still signs with."""
    key = desk.key(asked.key, asked.line)
    tables.move(tables.KEY, key.state, kind.removeprefix("key."), f"key {asked.key}")
    if kind == "key.activate":
        _check_form(key.proposed, desk.rules(asked.line))


def _check_form(key: c.KeyRequest | f.KeyProposed, rules: LineRules) -> None:
    if (key.class_, key.mode, key.format) != (rules.class_, rules.mode, rules.format):
        text = "class, mode and format must be those of the line's policy"
        raise Malformed(text, reason="KEY_DIFFERS_FROM_POLICY", hint="`sealpress policy show` has them")


def proposed(asked: c.KeyRequest, adopted: bool, change_id: str) -> f.KeyProposed:
    """The key's first fact."""
    return f.KeyProposed(
        key=asked.key, line=asked.line, class_=asked.class_, environment=asked.environment, purpose=asked.purpose,
        trusts=asked.trusts, fleet_estimate=asked.fleet_estimate, mode=asked.mode, format=asked.format,
        algorithm=asked.algorithm, slot=asked.slot, not_before=asked.not_before, rotate_by=asked.rotate_by,
        not_after=asked.not_after, max_signatures=asked.max_signatures, owner=asked.owner,
        backup_owner=asked.backup_owner, adopted=adopted, change_id=change_id,
    )  # fmt: skip


def check_extension(desk: Desk, asked: c.ExtendRequest) -> None:
    """Once, of a key that lives, for at most 90 days (GR-110)."""
    key = desk.key(asked.key, asked.line)
    if key.state not in EXTENDABLE:
        raise Precondition(f"the key is {key.state}", reason="ILLEGAL_MOVE", hint="only a living key is extended")
    if desk.now >= key.not_after:
        raise Precondition("the key's end has come", reason="KEY_EXPIRED", hint="a new key takes its place")
    if key.extended:
        raise Precondition("a key is extended once", reason="EXTENDED_ALREADY", hint="rotate it")
    if not key.not_after < asked.not_after <= key.not_after + EXTENSION_S_MAX or asked.rotate_by > asked.not_after:
        raise Malformed("an extension is at most 90 days", reason="PERIOD_TOO_LONG")


def check_shares(desk: Desk, asked: c.SharesRequest) -> None:
    """A new set for a key of the line, no share of it twice, no custodian twice (GR-61)."""
    desk.key(asked.key, asked.line)
    if asked.set_id in desk.state.shares:
        raise Precondition("this set of shares is there already", reason="SHARES_WRONG", hint="a new set has a new id")
    persons = all(is_person(desk, custodian) for custodian in asked.custodians)
    distinct = all(len(named) == len(set(named)) == asked.n for named in (asked.custodians, asked.commitments))
    if not distinct or not persons or asked.m > asked.n - 1:
        text = "m of n needs m <= n - 1, n different shares, and n custodians who are different active persons"
        raise Malformed(text, reason="SHARES_WRONG")
