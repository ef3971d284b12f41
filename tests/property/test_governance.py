"""Do the rules of governance keep the invariants of GOVERNANCE 3.3, whatever anybody tries, in whatever order?

One state machine of Hypothesis: a town (kit/town.py) in which people and pipelines do everything that governance knows,
rightly and wrongly (kit/verbs.py). After each step all of I1-I8, I11-I13, I15, I17-I19 are checked (kit/invariants.py);
a refusal must leave the state as it was, to the byte, and at the end the facts alone must give the state once more.

`make governance-soak` runs it for longer: SEALPRESS_GOVERNANCE_HISTORIES histories, from the seed that it prints
(SEALPRESS_GOVERNANCE_SEED repeats one). The second half of this file breaks a rule at a time, to show that the machine
would notice.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from msgspec import structs

from kit.invariants import INVARIANTS, BrokenError, Watch
from kit.life import Life
from kit.town import Town
from kit.verbs import VERBS, do
from sealpress.errors import Invalid
from sealpress.governance import (
    access_requests,
    birth,
    clockwork,
    counting,
    fold,
    fold_access,
    grants,
    key_requests,
    paths,
    policy,
    requests,
    roles,
    snapshot,
    state,
    stops,
    succession,
    usage,
)
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.governance.open_grants import GrantView
from sealpress.governance.snapshot import Snapshot
from sealpress.governance.state import State, encode
from sealpress.verify import approval, sshsig, statement
from sealpress.verify.change import ChangeRecord

HISTORIES = int(os.environ.get("SEALPRESS_GOVERNANCE_HISTORIES", "2000"))
SEED = int(os.environ.get("SEALPRESS_GOVERNANCE_SEED", "0")) or random.SystemRandom().getrandbits(32)
STEPS = 40
PARTS = 8  # in which the histories are run, so that none takes long enough to look like a test that hangs
BUDGET = 1_000  # histories in which a broken rule must show; most do in a few dozen
CHECKED = {f"i{number}" for number in (*range(1, 9), 11, 12, 13, 15, 17, 18, 19)}


class Governance(RuleBasedStateMachine):
    """A town and its life."""

    lives: ClassVar[list[int]] = []  # deeds of each history
    focus: ClassVar[dict[str, str]] = {}  # verb → what is done instead, to look for one bug

    def __init__(self) -> None:
        """Founded and watched."""
        super().__init__()
        self.life = Life(Town(watch=Watch()))

    @rule(verb=st.sampled_from(VERBS), number=st.integers(0, (1 << 48) - 1))
    def live(self, verb: str, number: int) -> None:
        """One deed; the watch looks after each fact and leaf."""
        do(self.life, self.focus.get(verb, verb), number)

    def teardown(self) -> None:
        """The facts alone give the state once more, and it survives its encoding."""
        town = self.life.town
        assert encode(town.folded_again()) == encode(town.state)
        Governance.lives.append(self.life.steps)


def run(histories: int, number: int, *phases: Phase) -> None:
    """So many histories from this seed."""
    how = settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=phases or (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(seed(number)(Governance), settings=how)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_invariants_hold_in_every_history(part: int) -> None:
    """In 2,000 histories of 40 deeds no invariant breaks, no refusal changes anything, no fact is illegal."""
    assert set(INVARIANTS) == CHECKED
    histories = -(-HISTORIES // PARTS)
    print(f"\nSEALPRESS_GOVERNANCE_SEED={SEED} SEALPRESS_GOVERNANCE_HISTORIES={HISTORIES}")  # noqa: T201
    Governance.lives.clear()

    run(histories + histories // 16, SEED + part)  # a few are given up early by Hypothesis

    assert sum(steps >= 30 for steps in Governance.lives) >= histories


# ---- would it notice? ------------------------------------------------------------------------------------------------


def requester_may_approve(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whose change it is."""
    check, groups_of = approval.check, paths.groups_of

    def lenient(record: ChangeRecord, text: bytes, signature: str, *rest: Any) -> approval.Counted:
        try:
            return check(record, text, signature, *rest)
        except Invalid as error:
            if error.reason != "APPROVAL_SELF":
                raise
            said, key = statement.parse(text), sshsig.parse(signature, statement.NAMESPACE)
            times = said.issued, said.expires
            return approval.Counted(said.person, key.key.fingerprint, key.flags, key.counter, said.nonce, *times, "")

    def anybody(desk: Desk, change: state.Change, who: str) -> tuple[str, ...]:
        record = structs.replace(change.record, requester_person="", creator_person="")
        return groups_of(desk, structs.replace(change, record=record), who)

    patch.setattr(approval, "check", lenient)
    patch.setattr(paths, "groups_of", anybody)


def quorum_counted_when_approved_only(patch: pytest.MonkeyPatch) -> None:
    """Whoever is stopped after he approved still counts."""
    patch.setattr(stops, "_approved_by", lambda *_: iter(()))
    patch.setattr(clockwork, "_stopped", lambda *_: False)
    patch.setattr(
        counting, "counted", lambda desk, change: [one for one in change.approvals.values() if one.state == "counted"]
    )


def suspended_key_signs(patch: pytest.MonkeyPatch) -> None:
    """The snapshot takes it for active."""
    patch.setattr(snapshot, "_signs", lambda key, rules: key.state in ("active", "suspended"))


def uses_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """The ledger forgets."""
    patch.setattr(usage.Ledger, "take", lambda *_: None)


def no_conflict_matrix(patch: pytest.MonkeyPatch) -> None:
    """All roles go together."""
    patch.setattr(roles, "CONFLICTS", frozenset())


def loosening_is_like_tightening(patch: pytest.MonkeyPatch) -> None:
    """Two approvers are enough for any policy."""
    patch.setattr(paths, "_policy", lambda desk, request: desk.policy.required("policy"))


def software_token_in_production(patch: pytest.MonkeyPatch) -> None:
    """The custodian's report is not looked at."""
    patch.setattr(birth, "wrong", lambda *_: "")


def line_of_class_test_in_production(patch: pytest.MonkeyPatch) -> None:
    """A policy may call a production line a test, and its key does not mind."""
    patch.setattr(policy, "lint", lambda _: [])
    patch.setattr(snapshot, "_signs", lambda key, rules: key.state == "active")


def a_key_of_two_persons(patch: pytest.MonkeyPatch) -> None:
    """Neither rule nor fold looks whose it is."""
    patch.setattr(access_requests, "check_credential", lambda *_: None)
    enrolled = fold_access.credential_enrolled
    patch.setitem(
        fold._FOLDS,
        f.CredentialEnrolled,
        lambda s, fact, seq: (s.credentials.pop(fact.fingerprint, 0), enrolled(s, fact, seq)),
    )


def quorum_of_one(patch: pytest.MonkeyPatch) -> None:
    """The first approval decides."""
    patch.setattr(counting, "missing", lambda *_: "")


def untouched_keys_count(patch: pytest.MonkeyPatch) -> None:
    """As stock ssh-keygen: flags are not looked at."""
    patch.setattr(approval, "check_credential", lambda *_: None)


def any_statement_counts(patch: pytest.MonkeyPatch) -> None:
    """It is not made again and compared."""
    patch.setattr(approval, "_check_same", lambda *_: None)


def grants_cover_anything(patch: pytest.MonkeyPatch) -> None:
    """Digests are not compared."""
    patch.setattr(GrantView, "covers", lambda *_: True)


def no_releaser(patch: pytest.MonkeyPatch) -> None:
    """Firmware leaves by itself."""
    patch.setattr(grants, "gates_of", lambda *_: ())


def a_key_without_end(patch: pytest.MonkeyPatch) -> None:
    """The snapshot forgets its dates."""
    view = snapshot._key
    patch.setattr(snapshot, "_key", lambda name, key: replace(view(name, key), not_before=0, not_after=1 << 40))


def stopped_identities_ask(patch: pytest.MonkeyPatch) -> None:
    """Every name is known."""
    patch.setattr(Snapshot, "knows", lambda *_: True)


def shares_for_one(patch: pytest.MonkeyPatch) -> None:
    """All shares may be needed, and one person may hold them."""
    patch.setattr(key_requests, "check_shares", lambda *_: None)


def a_public_key_twice(patch: pytest.MonkeyPatch) -> None:
    """Neither rule nor fold remembers public keys."""
    patch.setitem(fold._FOLDS, f.KeyGenerated, lambda s, fact, seq: _made(s.keys[fact.key], fact))


def _made(key: Any, fact: Any) -> None:
    key.key_id, key.spki, key.software_token = fact.key_id, fact.spki, fact.software_token


def policies_overtake(patch: pytest.MonkeyPatch) -> None:
    """A policy enters into force although another came between, against which it loosens."""
    patch.setattr(requests, "_check_alone", lambda _: None)
    patch.setitem(fold._FOLDS, f.PolicyInForce, _policy_beside_others)
    patch.setattr(succession, "_judged_otherwise", lambda *_: False)


def _policy_beside_others(found: State, fact: Any, seq: int) -> None:
    others = {id_: one for id_, one in found.scheduled.items() if one.policy_sha256 != policy_sha256(fact)}
    fold._policy(found, fact, seq)
    found.scheduled = others


def policy_sha256(fact: Any) -> str:
    """Of its text."""
    return hashlib.sha256(fact.body.encode()).hexdigest()


def classes_change_under_keys(patch: pytest.MonkeyPatch) -> None:
    """A key goes on to sign when its line becomes another class."""
    patch.setattr(snapshot, "_signs", lambda key, rules: key.state == "active")


Break = Callable[[pytest.MonkeyPatch], None]

BUGS: dict[str, tuple[Break, str, tuple[str, ...]]] = {
    "requester may approve": (requester_may_approve, "I1", ()),
    "quorum counted when approved only": (
        quorum_counted_when_approved_only, "I3", ("propose", "request", "approve", "stop", "pass"),
    ),
    "suspended key signs": (suspended_key_signs, "I7", ()),
    "uses not counted": (uses_are_not_counted, "I7|I8", ("carry on", "sign")),
    "no conflict matrix": (no_conflict_matrix, "I5", ()),
    "loosening is like tightening": (loosening_is_like_tightening, "I12", ()),
    "software token in production": (software_token_in_production, "I15", ("carry on", "sign")),
    "class test in production": (line_of_class_test_in_production, "I15", ("carry on", "sign")),
    "a key of two persons": (a_key_of_two_persons, "I4", ("propose", "pass")),
    "quorum of one": (quorum_of_one, "I3", ()),
    "untouched keys count": (untouched_keys_count, "I3", ("request", "approve", "pass")),
    "any statement counts": (any_statement_counts, "I2", ("request", "approve", "pass")),
    "grants cover anything": (grants_cover_anything, "I8", ("carry on", "sign")),
    "no releaser": (no_releaser, "I13", ()),
    "a key without end": (a_key_without_end, "I7", ("wait", "sign")),
    "stopped identities ask": (stopped_identities_ask, "I19", ()),
    "shares for one": (shares_for_one, "I17", ("propose", "pass", "execute")),
    "a public key twice": (a_public_key_twice, "I6", ("carry on",)),
    "policies overtake": (policies_overtake, "I12", ("carry on", "propose", "pass", "wait")),
    "classes change under keys": (classes_change_under_keys, "I15", ("carry on", "sign", "wait")),
}  # fmt: skip
"""What breaks, the invariant that notices, and what people do meanwhile (nothing: everything)."""


@pytest.mark.parametrize("bug", BUGS)
def test_a_broken_rule_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this rule broken, a small budget of histories breaks the invariant that it stood for."""
    breaks, invariant, busy = BUGS[bug]
    breaks(monkeypatch)
    if busy:
        focus = {verb: busy[place % len(busy)] for place, verb in enumerate(dict.fromkeys(VERBS))}
        monkeypatch.setattr(Governance, "focus", focus)

    with pytest.raises(BrokenError, match=f"^({invariant}) "):
        run(BUDGET, 1, Phase.generate)
