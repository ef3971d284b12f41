"""Which keys may be used where: what the token says of them is compared with what their class demands."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from kit.clock import VirtualClock
from sealpress.config import SlotSection
from sealpress.hsm.inventory import Inventory
from sealpress.hsm.keytable import GuardKey, KeyTable
from sealpress.hsm.mechanisms import CKM_ECDSA, CKM_ECDSA_SHA256
from sealpress.hsm.objects import DEMANDED
from sealpress.hsm.signatures import Cosigner
from sealpress.hsm.work import KeyStock, Stock, Stranger
from sealpress.telemetry import Telemetry
from sealpress.values import KeyClass

SPKI = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)  # the base point of P-256: whose private key is 1


class Slot:
    """One slot with one key, and what was told about it."""

    def __init__(self, class_: KeyClass, *, adopted: bool = False, laboratory: bool = False) -> None:
        """Nothing was looked at yet."""
        self.key = GuardKey(
            "k", "o", "a/b/c/d/e", class_, ("s1",), SPKI, bytes(32), bytes(32), b"1", "", True, Cosigner(SPKI), None,
            None, adopted=adopted,
        )  # fmt: skip
        section = SlotSection(module="m", label="l", laboratory=laboratory)
        self._stream = io.StringIO()
        telemetry = Telemetry(VirtualClock(), self._stream)
        self.inventory = Inventory(KeyTable({}, {"k": self.key}), {"s1": section}, telemetry)

    def look(self, maker: str = "Acme HSM", strangers: tuple[Stranger, ...] = (), **told: bool | None) -> str:
        """A worker looked: attributes as demanded, but for `told`; what is wrong."""
        attributes = {name: value for name, value in {**DEMANDED, **told}.items() if value is not None}
        keys = {"k": KeyStock(attributes, None)}
        self.inventory.take("s1", Stock(maker, "1", (CKM_ECDSA,), keys, strangers, len(strangers)))
        return self.inventory.wrong("k", "s1")

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was told so far."""
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.mark.parametrize("name", DEMANDED)
def test_each_attribute_is_demanded_above_test(name: str) -> None:
    """GR-03: the other value, or none at all, and the key is not used; of class test nothing is demanded."""
    for value in (not DEMANDED[name], None):
        assert name in Slot(KeyClass.LOW).look(**{name: value})
        assert not Slot(KeyClass.TEST).look(**{name: value})


def test_modifiable_is_not_judged() -> None:
    """Not every token knows it: told either way or not at all, the key is used."""
    assert {Slot(KeyClass.ROOT).look(modifiable=value) for value in (True, False, None)} == {""}


def test_an_adopted_key_may_be_born_elsewhere_and_nothing_more() -> None:
    """Its change accepted that risk; a key that was extractable once is still not used."""
    assert not Slot(KeyClass.RELEASE, adopted=True).look(local=False)
    assert Slot(KeyClass.RELEASE, adopted=True).look(local=False, never_extractable=False)


def test_a_token_of_files_is_for_class_test() -> None:
    """GR-04: unless the slot is a laboratory's."""
    assert "GR-04" in Slot(KeyClass.LOW).look("SoftHSM project")
    assert not Slot(KeyClass.LOW, laboratory=True).look("SoftHSM project")
    assert not Slot(KeyClass.TEST).look("SoftHSM project")


def test_a_key_that_nobody_looked_at_is_not_used() -> None:
    """On a slot without a worker, and where the token shows no such key."""
    slot = Slot(KeyClass.TEST)

    assert slot.inventory.wrong("k", "s1")
    assert slot.inventory.wrong("k", "s2")


def test_a_change_is_told_once() -> None:
    """A key that is not used, that is again, strangers that come and go: one event each, however often one looks."""
    slot, stranger = Slot(KeyClass.LOW), Stranger("who", b"\x01", b"")
    for _ in range(3):
        slot.look(sensitive=False)
    for _ in range(3):
        slot.look(strangers=(stranger,))
    slot.look()

    told = [(one["level"], one["event"]) for one in slot.events]
    assert told == [
        ("error", "key_not_used"), ("info", "key_used_again"), ("critical", "key.unmanaged"), ("info", "key.unmanaged"),
    ]  # fmt: skip
    assert (slot.events[0]["reason"], bool(slot.events[0]["hint"])) == ("KEY_ATTRIBUTES", True)
    assert slot.events[2]["keys"] == ["who (01, no public key)"]


def test_the_token_s_own_hash_is_used_where_it_has_one() -> None:
    """For a structure that is ours; the mechanism is told by its name."""
    slot = Slot(KeyClass.TEST)
    assert slot.inventory.mechanism(slot.key, "s1") == ""
    for offered, name in (((CKM_ECDSA,), "ECDSA"), ((CKM_ECDSA, CKM_ECDSA_SHA256), "ECDSA_SHA256")):
        slot.inventory.take("s1", Stock("Acme HSM", "1", offered, {}, (), 0))
        assert slot.inventory.mechanism(slot.key, "s1") == name
