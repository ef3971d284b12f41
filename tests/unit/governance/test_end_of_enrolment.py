"""Does who was enrolled until a day count for nothing from then on, wherever he stands?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import DAY_S, FIRMWARE, RELEASE, certificate, key_request, person, policy_text, uri
from sealpress.errors import Malformed, NotPermitted, Precondition, Refusal
from sealpress.governance import facts as f
from sealpress.governance.changes import KeyAct, SharesRequest

BOT, ZED = certificate("bot"), person("zed")


@pytest.fixture
def town() -> Town:
    """In which zed is enrolled for ten days, and has an agent that is enrolled for ever."""
    town = Town()
    whose = {"owner": person("kim"), "backup_owner": person("karl"), "trust_domain": "", "environment": ""}
    town.declare(
        f.IdentityEnrolled(
            identity=ZED, kind="person", names=(uri("zed"),), expires=town.now + 10 * DAY_S, change_id="c", **whose
        ),
        f.IdentityEnrolled(
            identity="agent:bot", kind="agent", names=(BOT.id,), on_behalf_of=ZED, change_id="c", **whose
        ),
        f.PolicyInForce(body=policy_text(names=["bot"])),
    )
    return town


def test_an_agent_acts_no_longer_than_its_principal(town: Town) -> None:
    """Neither asks nor signs, from the second on in which its principal's enrolment is over (GR-33)."""
    change_id = town.pass_(town.request(BOT, RELEASE, (1,)), "rita")
    town.release(town.grant_of(change_id), "lena")
    assert town.snapshot is not None and town.snapshot.knows(BOT, RELEASE, town.now)
    town.wait(10 * DAY_S - 1, tick=False)
    waiting = town.request(BOT, RELEASE, (2,))
    town.wait(1)

    with pytest.raises(NotPermitted):
        town.request(BOT, RELEASE, (3,))
    with pytest.raises(Refusal):
        town.desk().actor(BOT.id)
    assert not town.snapshot.knows(BOT, RELEASE, town.now)
    assert "void" == town.state.changes[waiting].state


def test_who_is_over_answers_for_nothing(town: Town) -> None:
    """He owns no key, holds no share, and witnesses no destruction."""
    town.wait(10 * DAY_S)
    with pytest.raises(Malformed):
        town.propose("ines", "key.issue", key_request("k1", RELEASE, town.now, owner=ZED))
    people = tuple(person(name) for name in ("zed", "kim", "karl"))
    shares = SharesRequest(
        key="k-firmware", line=FIRMWARE, set_id="s1", m=2, n=3, custodians=people, commitments=("a", "b", "c")
    )
    with pytest.raises(Malformed):
        town.propose("ines", "recovery.shares", shares)

    for kind in ("key.deactivate", "key.destroy"):
        change_id = town.propose("rena", kind, KeyAct(key="k-release", line=RELEASE))
        town.pass_(change_id, "tom", "tina")
        if kind == "key.deactivate":
            town.execute(change_id, "rena")
    with pytest.raises(Precondition) as refusal:
        town.execute(change_id, "rena", (ZED, person("kim")))
    assert "WITNESSES_MISSING" == refusal.value.reason
