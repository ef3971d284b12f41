"""Is a key gone when the custodian says so, whatever interrupts it, and is no other one?"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from kit.custody import Custody, key_change
from kit.signer import make_node


@pytest.fixture
def custody(tmp_path: Path) -> Custody:
    """A token with one old key."""
    return Custody(make_node(tmp_path / "n", keys={"old": ("p256", "main", "direct", "ecdsa-der")}))


def test_a_key_is_destroyed_and_searched_for(custody: Custody) -> None:
    """Both objects go, every slot is searched, and the proof says what was looked at."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    assert len(custody.objects()) == 4
    code, document = custody.run("destroy", key_change("key.destroy", "k1"), "--key", "k1")
    proof = document["report"]

    assert code == 0
    assert custody.objects() == [("PRIVATE_KEY", "old"), ("PUBLIC_KEY", "old")]
    assert (proof["destroyed"], proof["key_id"], proof["change_id"]) == (2, made["report"]["key_id"], "key.destroy-k1")
    assert [(one["slot"], one["logged_in"], one["found"]) for one in proof["slots"]] == [("s1", True, 0)]
    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_NOT_FOUND"


def test_an_interrupted_destruction_is_carried_on(custody: Custody) -> None:
    """The private half is gone, the public one is not: the same command takes the rest, and proves that all is gone."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    custody.at_token("""
(private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: "k1"})
private.destroy()
""")
    code, document = custody.run("destroy", key_change("key.destroy", "k1"), "--key", "k1")

    assert (code, document["report"]["destroyed"]) == (0, 1)
    assert custody.objects() == [("PRIVATE_KEY", "old"), ("PUBLIC_KEY", "old")]


def test_a_destruction_over_two_slots_is_carried_on(custody: Custody) -> None:
    """One token gave up the key and the other did not answer: the next run does not stop at the first."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    config = tomllib.loads(custody.node.config.read_text())
    config["slot"]["s2"] = config["slot"]["s1"] | {"label": "second"}
    custody.node.config.write_text(tomli_w.dumps(config))
    custody.second_token("second")
    custody.add("k1", made, slots=["s2", "s1"])
    code, document = custody.run("destroy", key_change("key.destroy", "k1"), "--key", "k1")

    assert (code, document["report"]["destroyed"]) == (0, 2)
    assert {(one["slot"], one["found"]) for one in document["report"]["slots"]} == {("s1", 0), ("s2", 0)}


def test_nothing_is_destroyed_while_a_slot_cannot_be_searched(custody: Custody) -> None:
    """A configured token is not plugged in: nobody could say that the key is gone, so it stays."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    config = tomllib.loads(custody.node.config.read_text())
    config["slot"]["s2"] = config["slot"]["s1"] | {"label": "elsewhere"}
    custody.node.config.write_text(tomli_w.dumps(config))
    custody.add("k1", made)

    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "SEARCH_FAILED"
    assert len(custody.objects()) == 4


def test_without_login_half_a_key_is_not_taken_for_a_rest(custody: Custody) -> None:
    """Private objects cannot be seen then: the public one is no sign that nothing else is there."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    config = tomllib.loads(custody.node.config.read_text())
    del config["slot"]["s1"]["pin_file"]
    custody.node.config.write_text(tomli_w.dumps(config))

    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_NOT_FOUND"
    assert len(custody.objects()) == 4


def test_what_remains_of_a_key_is_found(custody: Custody) -> None:
    """A second object with the key's label: the destruction is not reported as done."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    custody.at_token('pairs.generate(session, "p256", b"another", "k1")')
    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_REMAINS"


def test_another_key_than_the_pinned_one_is_not_destroyed(custody: Custody) -> None:
    """The configuration's public key decides."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made | {"cka_id": "a0", "cka_label": "old"})
    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_MISMATCH"
    assert len(custody.objects()) == 4
