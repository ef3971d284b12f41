"""Key objects on a token: made with the attributes that are demanded, read back, found, destroyed.

Guarantees: what `attributes` tells was read from the token, never assumed; an attribute that the token does not tell is
absent. Does not: decide what a deviation means (custodian.py), or sign.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pkcs11 import Attribute, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import PKCS11Error

from sealpress.errors import CannotStart
from sealpress.hsm.module import answered
from sealpress.hsm.pairs import PRIVATE_TEMPLATE, generate_pair
from sealpress.hsm.spki import public_spki

DEMANDED: Mapping[str, bool] = {
    "sensitive": True,
    "always_sensitive": True,
    "extractable": False,
    "never_extractable": True,
    "local": True,
    "private": True,
    "token": True,
    "sign": True,
}
"""GR-03: read back from the token, or the key is destroyed."""

SOFTWARE_TOKENS = frozenset({"SoftHSM project", "Mozilla Foundation", "tpm2-software.github.io"})
"""Makers whose tokens keep keys in files (GR-04); a token that lies about its maker is the operator's to know."""

TOLD = (*DEMANDED, "modifiable", "decrypt", "unwrap", "derive")

# Where a token knows them: nobody changes the key afterwards, and it does nothing but sign.
_WISHED = {Attribute.MODIFIABLE: False, Attribute.DERIVE: False}
# What the halves may do besides signing, left to the token. To tpm2-pkcs11 verifying is decrypting: it makes no pair of
# which one half may and the other may not, and signs with no RSA key that may not.
_UNNAMED = dict.fromkeys(
    (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.VERIFY, Attribute.WRAP, Attribute.UNWRAP), DEFAULT
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both objects of a key; `spki` is canonical."""

    private: Any
    public: Any
    spki: bytes

    @property
    def handle(self) -> int:
        """Of the private object, for the signing loop."""
        return int(self.private.handle)


def make(session: Any, kind: str, cka_id: bytes, label: str, template: Mapping[Any, bool] | None = None) -> Pair:
    """A new pair, as strict as the token can make it: read its attributes back. CannotStart TOKEN_FAILED."""
    strict = PRIVATE_TEMPLATE if template is None else template
    tries: tuple[tuple[Mapping[Any, Any], Mapping[Any, Any]], ...] = (
        ({**strict, **_WISHED}, {}),
        (strict, {}),
        ({**strict, **_UNNAMED}, _UNNAMED),
    )
    for private_template, public_template in tries:
        try:
            public, private = generate_pair(session, kind, cka_id, label, private_template, public_template)
            break
        except PKCS11Error as error:  # a token that knows no such attribute answers in many ways
            refusal = answered(f"the token makes no {kind} key", error)
    else:
        raise refusal
    made = told_spki(public)
    if made is None:
        destroy(private, public)
        raise CannotStart(f"the token's new {kind} key cannot be read back", reason="TOKEN_FAILED")
    return Pair(private, public, made)


def find(session: Any, cka_id: bytes, label: str, spki: bytes = b"") -> tuple[list[Any], list[Any]]:
    """Private and public objects with this id or this label, and public ones of this key."""
    ids = [{Attribute.ID: cka_id}] if cka_id else []
    names: list[dict[Attribute, Any]] = [*ids, *([{Attribute.LABEL: label}] if label else [])]
    try:
        private = _objects(session, ObjectClass.PRIVATE_KEY, names)
        public = _objects(session, ObjectClass.PUBLIC_KEY, names)
        known = {int(key.handle) for key in public}
        if spki:
            every = _objects(session, ObjectClass.PUBLIC_KEY, [{}])
            public += [key for key in every if int(key.handle) not in known and told_spki(key) == spki]
    except PKCS11Error as error:
        raise answered("the token cannot be searched", error) from None
    return private, public


def pair_of(session: Any, what: str, cka_id: bytes, label: str, spki: bytes = b"") -> Pair:
    """The one key with this id and label, whose public key is `spki` where that is given. CannotStart otherwise."""
    private, held = _named_so(session, what, cka_id, label)
    if len(private) != 1 or len(held) != 1:
        raise CannotStart(
            f"key {what}: {len(private)} private and {len(held)} public objects on the token match, not one of each",
            reason="KEY_NOT_FOUND",
            hint="give the `cka_id` (hex) and `cka_label` of one key",
        )
    found = held[0][1]
    if found is None or (spki and found != spki):
        raise CannotStart(f"key {what}: the token's public key is not the pinned one", reason="KEY_MISMATCH")
    return Pair(private[0], held[0][0], found)


def left_of(session: Any, what: str, cka_id: bytes, label: str, spki: bytes, *, seen: bool) -> list[Any]:
    """Both objects of the pinned key, or what an interrupted destruction left of them. CannotStart as of pair_of.

    `seen`: after a login; without one a private object that is not seen may be there all the same.
    """
    private, held = _named_so(session, what, cka_id, label)
    if seen and not private and all(found == spki for _, found in held):
        return [key for key, _ in held]
    pair = pair_of(session, what, cka_id, label, spki)
    return [pair.private, pair.public]


def attributes(private: Any) -> dict[str, bool]:
    """What the token says of a private key; without what it does not tell."""
    told: dict[str, bool] = {}
    for name in TOLD:
        with contextlib.suppress(PKCS11Error):
            told[name] = bool(private[Attribute[name.upper()]])
    return told


def named(key: Any) -> tuple[bytes, str]:
    """Id and label; empty where the token does not tell: somebody else's key must not keep ours from being found."""
    told: dict[Attribute, Any] = {}
    for name in (Attribute.ID, Attribute.LABEL):
        with contextlib.suppress(PKCS11Error, UnicodeDecodeError):  # a label need not be text
            told[name] = key[name]
    return bytes(told.get(Attribute.ID) or b""), str(told.get(Attribute.LABEL) or "")


def told_spki(public: Any) -> bytes | None:
    """Of a public key; None where the token does not tell, or of a kind that we do not sign with."""
    try:
        return public_spki(public)
    except PKCS11Error:
        return None


def counted(private: Any, attribute: int) -> int | None:
    """How often a key was used, by the token's own count in a vendor's attribute; None if it does not tell."""
    try:
        value = bytes(private[attribute])
    except PKCS11Error:
        return None
    # Numbers of PKCS#11 are in the machine's order; a CK_ULONG has four bytes or eight.
    return int.from_bytes(value, sys.byteorder) if len(value) in (4, 8) else None


def deviation(told: Mapping[str, bool], *, adopted: bool = False) -> str:
    """What is not as demanded, for people; empty if all is. An adopted key may have been born elsewhere."""
    excused = {"local"} if adopted else set()
    wrong = [
        f"{name} is {str(told[name]).lower() if name in told else 'not told'}"
        for name, value in DEMANDED.items()
        if told.get(name) is not value and name not in excused
    ]
    return ", ".join(wrong)


def destroy(*objects: Any) -> None:
    """C_DestroyObject for each of them."""
    for one in objects:
        try:
            one.destroy()
        except PKCS11Error as error:
            raise answered("the token does not destroy a key", error) from None


def _named_so(session: Any, what: str, cka_id: bytes, label: str) -> tuple[list[Any], list[tuple[Any, bytes | None]]]:
    """Private and public objects with this id and label, these with their SPKI."""
    template: dict[Attribute, Any] = {}
    if cka_id:
        template[Attribute.ID] = cka_id
    if label:
        template[Attribute.LABEL] = label
    try:
        private = _objects(session, ObjectClass.PRIVATE_KEY, [template] if template else [])
        public = _objects(session, ObjectClass.PUBLIC_KEY, [template] if template else [])
        return private, [(key, told_spki(key)) for key in public]
    except PKCS11Error as error:
        raise answered(f"key {what} cannot be looked up", error) from None


def _objects(session: Any, class_: ObjectClass, templates: list[dict[Attribute, Any]]) -> list[Any]:
    found: dict[int, Any] = {}
    for template in templates:
        for one in session.get_objects({Attribute.CLASS: class_, **template}):
            found[int(one.handle)] = one
    return list(found.values())
