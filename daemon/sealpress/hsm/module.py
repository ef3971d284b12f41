"""The one door to python-pkcs11: loads the module through the core's table, finds slot, sessions and keys.

python-pkcs11 opens sessions and finds keys; the C core logs in and signs on their handles. No session is opened with a
PIN: closing such a one would log the whole process out.

Guarantees: a token is taken by serial and label, and several matches are refused; a key is handed out only if the
token's public key is the pinned one. Does not: sign, or hold a PIN.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.attributes import AttributeMapper, handle_bool
from pkcs11.exceptions import AttributeTypeInvalid, MechanismInvalid, PKCS11Error

from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError, TokenError
from sealpress.hsm.login import login
from sealpress.hsm.mechanisms import MECHANISMS
from sealpress.hsm.spki import public_spki

# Reasons after which the next try would end the same way: a person has to do something.
LASTING = frozenset(
    {
        "MODULE_MISSING",
        "TOKEN_NOT_FOUND",
        "TOKEN_AMBIGUOUS",
        "PIN_FILE",
        "PIN_REJECTED",
        "TOKEN_LOCKED",
        "KEY_NOT_FOUND",
        "KEY_MISMATCH",
    }
)
_SESSION_GONE = frozenset({0xB0, 0xB3})  # CKR_SESSION_CLOSED, CKR_SESSION_HANDLE_INVALID
_MATCHES_MAX = 64  # objects of one name that are looked at: some modules find them for ever
_VENDOR = 0x8000_0000  # CKA_VENDOR_DEFINED
_SESSIONS_UNLIMITED = frozenset({0, (1 << 64) - 1})


class _NotTold(AttributeTypeInvalid, KeyError):
    """The token's answer is no value of the attribute's type. To python-pkcs11, which lists objects: it has none."""


class _Mapper(AttributeMapper):
    """A vendor's attribute is bytes; an empty answer is none: to python-pkcs11 it is a boolean that is false."""

    def unpack_attributes(self, key: Attribute, value: bytes) -> Any:
        if key >= _VENDOR:
            return value
        if not value and self.attribute_types.get(key) is handle_bool:
            raise _NotTold
        try:
            return super().unpack_attributes(key, value)
        except (ValueError, struct.error):  # an enumeration, or text, that it is not; another size than a number's
            raise _NotTold from None


@dataclass(frozen=True, slots=True)
class TokenName:
    """Where a token is to be found; an empty serial matches any."""

    module: str
    reserved: str
    serial: str
    label: str


def load(name: TokenName) -> Any:
    """The module as python-pkcs11 sees it, through the core's table. CannotStart: MODULE_MISSING, TOKEN_FAILED."""
    try:
        p11.open_module(name.module, name.reserved)
        p11.initialize()
        return pkcs11.lib(p11.own_path())
    except TokenError as error:
        raise CannotStart(
            f"{name.module}: {error.message}",
            reason="TOKEN_FAILED",
            hint="see the module's own configuration and log (SoftHSM: SOFTHSM2_CONF); it is tried again",
        ) from None
    except CoreError as error:
        raise CannotStart(
            f"{name.module}: {error.message}",
            reason="MODULE_MISSING",
            hint="install the module, or correct `module` of the slot (Debian: apt-get install softhsm2)",
        ) from None
    except PKCS11Error as error:
        raise answered("the module cannot be used", error) from None


def _where(module: str) -> str:
    """What to do where a module shows no token of that name."""
    if "softhsm" in Path(module).name and "SOFTHSM2_CONF" not in os.environ:
        return "SOFTHSM2_CONF is not set: name the softhsm2.conf whose directory has the token, then check `label`"
    said = "check `label` and `serial` of the slot, that the token is plugged in, and the module's own configuration"
    return f"{said} (SoftHSM: SOFTHSM2_CONF)"


def answered(what: str, error: PKCS11Error) -> CannotStart:
    """The token's refusal as an error of the tree."""
    return CannotStart(f"{what}: {type(error).__name__} {error}".rstrip(), reason="TOKEN_FAILED")


def serial_of(token: Any) -> str:
    """A token's serial number as text."""
    serial = token.serial.decode(errors="replace") if isinstance(token.serial, bytes) else str(token.serial)
    return serial.strip("\0 ")


def tokens_of(library: Any) -> Iterator[Any]:
    """Every token that a loaded module shows, as python-pkcs11 has it. CannotStart TOKEN_FAILED."""
    try:
        for slot in library.get_slots(token_present=True):
            with contextlib.suppress(PKCS11Error):  # an empty or broken slot is no candidate
                yield slot.get_token()
    except PKCS11Error as error:
        raise answered("the module's slots cannot be listed", error) from None


class Token:
    """A token that was found, with its anchor session, which performs the login and is never used to sign."""

    def __init__(self, name: TokenName) -> None:
        """Load, find, open the anchor. CannotStart: MODULE_MISSING, TOKEN_NOT_FOUND, TOKEN_AMBIGUOUS, TOKEN_FAILED."""
        self._lib = load(name)
        self._token = self._find(name)
        self._anchor = self.open_session()

    def _find(self, name: TokenName) -> Any:
        found = []
        for token in tokens_of(self._lib):
            if token.label.strip() == name.label and name.serial in ("", serial_of(token)):
                found.append(token)
        if not found:
            raise CannotStart(
                f"no token with label {name.label!r}" + (f" and serial {name.serial!r}" if name.serial else ""),
                reason="TOKEN_NOT_FOUND",
                hint=_where(name.module),
            )
        if len(found) > 1:
            raise CannotStart(
                f"{len(found)} tokens have the label {name.label!r}",
                reason="TOKEN_AMBIGUOUS",
                hint="give the `serial` of the slot's token",
            )
        return found[0]

    @property
    def raw(self) -> Any:
        """The token as python-pkcs11 has it."""
        return self._token

    @property
    def maker(self) -> str:
        """Who made the token, by its own word."""
        return str(self._token.manufacturer_id).strip("\0 ")

    @property
    def serial(self) -> str:
        """Its serial number."""
        return serial_of(self._token)

    def others(self) -> list[TokenName]:
        """Every token that the module shows, by serial and label."""
        return [TokenName("", "", serial_of(token), token.label.strip()) for token in tokens_of(self._lib)]

    @property
    def slot_id(self) -> int:
        """The module's number of the slot, good for this process only."""
        return int(self._token.slot.slot_id)

    @property
    def sessions_max(self) -> int | None:
        """How many sessions the token allows beside the anchor; None: it does not say."""
        _, most = p11.token_flags(self.slot_id)
        return None if most in _SESSIONS_UNLIMITED else max(1, most - 1)

    @property
    def mechanisms(self) -> frozenset[int]:
        """CKM_* numbers of those of our mechanisms with which it says that it signs. CannotStart TOKEN_FAILED."""
        slot = self._token.slot
        try:
            offered = {int(one) for one in slot.get_mechanisms()} & MECHANISMS.keys()
            return frozenset(one for one in offered if _signs(slot, one))
        except PKCS11Error as error:
            raise answered("the token does not list its mechanisms", error) from None

    def private_keys(self, most: int) -> list[Any]:
        """The first private keys, as the anchor sees them. CannotStart TOKEN_FAILED."""
        return self._listed(ObjectClass.PRIVATE_KEY, most)

    def public_keys(self, most: int) -> list[Any]:
        """The first public ones."""
        return self._listed(ObjectClass.PUBLIC_KEY, most)

    def _listed(self, class_: ObjectClass, most: int) -> list[Any]:
        try:
            return list(islice(self._anchor.get_objects({Attribute.CLASS: class_}), most))
        except PKCS11Error as error:
            raise answered("the token's keys cannot be listed", error) from None

    def open_session(self, *, write: bool = False) -> Any:
        """A session without PIN. It shares the login of the anchor."""
        try:
            return self._token.open(rw=write, attribute_mapper=_Mapper())
        except PKCS11Error as error:
            raise answered("the token opens no session", error) from None

    def close_anchor(self) -> None:
        """For the maker of a token only, who has a session of its own: C_InitPIN bears no read-only session."""
        self._anchor.close()

    def login(self, pin_file: str, tag_key: bytes, rejected: tuple[bytes, ...]) -> None:
        """One C_Login with the PIN of this file, unless it was rejected before or the token is about to lock."""
        login(int(self._anchor.handle), pin_file, tag_key, rejected)

    def logged_in(self) -> bool | None:
        """Whether the login stands; None if the anchor is gone, and every session with it. CannotStart TOKEN_FAILED."""
        try:
            return p11.logged_in(int(self._anchor.handle))
        except TokenError as error:
            if error.rv in _SESSION_GONE:
                return None
            raise CannotStart(f"the anchor session: {error.message}", reason="TOKEN_FAILED") from None

    def reopen(self) -> None:
        """Another anchor session instead of one that is gone; nobody is logged in then."""
        with contextlib.suppress(PKCS11Error):  # it need not be gone, whatever the token says
            self._anchor.close()
        self._anchor = self.open_session()

    def find_key(self, what: str, cka_id: bytes, cka_label: str, spki: bytes) -> int:
        """The handle of a private key whose public key is `spki`; valid until the login is lost."""
        template: dict[Attribute, Any] = {}
        if cka_id:
            template[Attribute.ID] = cka_id
        if cka_label:
            template[Attribute.LABEL] = cka_label
        try:
            private, public = (
                list(islice(self._anchor.get_objects({Attribute.CLASS: class_, **template}), _MATCHES_MAX))
                for class_ in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
            )
            held = [public_spki(key) for key in public]
        except PKCS11Error as error:
            raise answered(f"key {what} cannot be looked up", error) from None
        if len(private) != 1 or not template:
            raise CannotStart(
                f"key {what}: {len(private)} private keys on the token match",
                reason="KEY_NOT_FOUND",
                hint="check `cka_id` (hex) and `cka_label` of the key, and that it is on this token",
            )
        if spki not in held:
            raise CannotStart(
                f"key {what}: the token's public key is not the pinned one",
                reason="KEY_MISMATCH",
                hint="the PEM in `public_key` must be the public half of the token's key with this id and label",
            )
        return int(private[0].handle)


def _signs(slot: Any, mechanism: int) -> bool:
    try:
        return pkcs11.MechanismFlag.SIGN in slot.get_mechanism_info(pkcs11.Mechanism(mechanism)).flags
    except MechanismInvalid:
        return False  # it was listed, and the token does not know it
