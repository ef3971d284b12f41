"""Is the state a fold and nothing else: fast, repeatable, and right about trust anchors?"""

from __future__ import annotations

import time

import pytest
from msgspec import structs

from kit.softkeys import SoftKey
from kit.town import Leaf, Town
from kit.townsfolk import GENESIS, OFFICERS, RELEASE, certificate, key_of, person, policy_text, uri
from sealpress.errors import NotPermitted, Precondition
from sealpress.governance import counting
from sealpress.governance import facts as f
from sealpress.governance.changes import PolicyRequest
from sealpress.governance.facts import body_of, decode, kind_of
from sealpress.governance.fold import apply
from sealpress.governance.state import State, encode
from sealpress.verify import statement
from sealpress.verify.anchors import AnchorKey, Officer, TrustAnchors
from sealpress.verify.change import encode as canonical

FACTS_PER_S_MIN = 10_000  # a hundred thousand facts are to be folded in 20 s


def busy(releases: int) -> Town:
    """A town with so many releases, approved and let go."""
    town = Town(strict=False)
    for number in range(releases):
        change_id = town.request(certificate("ci-router"), RELEASE, (number, number + 1))
        town.pass_(change_id, "rita", "rob")
        town.release(town.grant_of(change_id), "lena")
    return town


@pytest.mark.timing
def test_the_fold_is_fast() -> None:
    """Records are decoded and folded at 10,000 facts a second or more."""
    town = busy(100)
    records = [(kind_of(fact), body_of(fact)) for fact in town.history if not isinstance(fact, Leaf)]
    best = 0.0
    for _ in range(3):
        state, began = State(), time.perf_counter()
        for seq, (kind, body) in enumerate(records):
            apply(state, decode(kind, body), seq, GENESIS)
        best = max(best, len(records) / (time.perf_counter() - began))
    print(f"\n{best:,.0f} facts/s over {len(records)}")  # noqa: T201

    assert best >= FACTS_PER_S_MIN


def test_the_same_facts_give_the_same_state() -> None:
    """Byte for byte, and time never goes back."""
    town = busy(3)
    apply(town.state, f.AlertRaised(name="n", subject="s", text="t"), town.state.seq + 1, 1)

    assert GENESIS == town.state.time
    town.state.alerts -= 1
    town.state.seq -= 1
    assert encode(town.state) == encode(town.folded_again())


def next_anchors(town: Town, **other: object) -> f.AnchorsAdopted:
    """The next version; the fold does not verify signatures (DECISIONS/0013)."""
    old = town.state.anchors
    assert old is not None
    return adopted(structs.replace(old, version=old.version + 1, **other))


def adopted(anchors: TrustAnchors) -> f.AnchorsAdopted:
    """As a fact."""
    return f.AnchorsAdopted(document=canonical(anchors).decode(), signatures=())


def officer(name: str, key: SoftKey | None = None, **other: object) -> Officer:
    """Somebody who the document names."""
    key = key or key_of(name)
    made = Officer(
        person=person(name), names=(uri(name),), keys=(AnchorKey(public=key.line, application=key.application),)
    )
    return structs.replace(made, **other)


def test_new_anchors_replace_officers_and_their_keys() -> None:
    """Who is left out is no officer any more, and his key, or a key that is replaced, counts for nothing."""
    town, spare = Town(), SoftKey.make()
    town.declare(next_anchors(town, officers=(officer("olga", spare), officer("otto"), officer("stella"))))
    credentials = town.state.credentials
    groups = {
        name: {b.group for b in town.state.bindings_at(person(name), "", town.now)} for name in (*OFFICERS, "stella")
    }

    assert credentials[key_of("olga").fingerprint].revoked
    assert not credentials[spare.fingerprint].revoked
    assert credentials[key_of("oscar").fingerprint].revoked
    assert not credentials[key_of("otto").fingerprint].revoked
    assert {
        "olga": {"officers"},
        "otto": {"officers"},
        "oscar": set(),
        "stella": {"officers", "security-officers"},
    } == groups


def test_new_anchors_say_how_an_officer_authenticates() -> None:
    """A name that the document no longer has is nobody's; one that it has is his, also if he was enrolled before."""
    town = Town()
    olga, stella = officer("olga", names=("uri:new",)), officer("stella", names=(uri("stella"), "uri:more"))
    town.declare(next_anchors(town, officers=(olga, officer("otto"), stella)))

    assert town.desk().actor("uri:new").identity == person("olga")
    assert town.desk().actor("uri:more").identity == person("stella")
    with pytest.raises(NotPermitted):
        town.actor("olga")


def test_anchors_that_cannot_follow_change_nothing() -> None:
    """A gap, a name or a key of somebody else, an offboarded officer, a machine: refused whole."""
    town = Town()
    town.stop("iris", "offboard", person("sue"))
    otto = officer("otto")
    old = town.state.anchors
    assert old is not None
    wrong = [
        adopted(old),
        adopted(structs.replace(old, version=3)),
        next_anchors(town, officers=(otto, officer("olga", key_of("rita")))),
        next_anchors(town, officers=(otto, officer("new", names=(uri("rita"),)))),
        next_anchors(town, officers=(otto, officer("olga", names=(uri("rita"),)))),
        next_anchors(town, officers=(otto, officer("sue"))),
        next_anchors(town, officers=(otto, officer("x", person="workload:ci-app"))),
    ]
    before = encode(town.state)

    for fact in wrong:
        with pytest.raises(Precondition):
            apply(town.state, fact, town.state.seq + 1, town.now)
        assert before == encode(town.state)


def test_a_suspended_officer_counts_no_more_for_root() -> None:
    """Officers stop like anybody else."""
    town = Town()
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(ttl="12h")))
    town.stop("iris", "identity", person("olga"))

    with pytest.raises(NotPermitted) as caught:
        town.approve(change_id, "olga")
    assert "APPROVAL_NOT_YOURS" == caught.value.reason


def test_officers_count_no_longer_than_their_document() -> None:
    """When the anchors have expired nothing is loosened under them, also with approvals that were given before."""
    town = Town()
    town.declare(next_anchors(town, expires=town.now + 600))
    change_id = town.propose("paul", "policy.change", PolicyRequest(policy=policy_text(ttl="12h")))
    town.approve(change_id, "olga")
    said = town.ask(change_id, "otto")
    town.wait(601)

    with pytest.raises(NotPermitted) as caught:
        town.hand_in(statement.render(said), "otto")
    assert "APPROVAL_KEY" == caught.value.reason
    assert counting.counted(town.desk(), town.state.change(change_id)) == []
