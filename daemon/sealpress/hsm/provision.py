"""Makes a token and its keys, for development, the demo and tests.

Guarantees: the PINs go from their files to the token in C; private keys are sensitive and not extractable.
Does not: touch a token that is initialised already, and is no substitute for a key ceremony.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pkcs11
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from pkcs11.exceptions import PKCS11Error

from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError
from sealpress.hsm.login import login
from sealpress.hsm.module import Token, TokenName, answered, load
from sealpress.hsm.pairs import generate
from sealpress.values import KeyKind

_NO_TAG_KEY = bytes(p11.TAG_BYTES)  # nothing is remembered here


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One key to make; `id` is the configuration's [key.<id>], `cka_id` and `cka_label` name it on the token."""

    id: str
    kind: KeyKind
    cka_id: bytes
    cka_label: str


def softhsm_conf(directory: Path) -> Path:
    """Write a SoftHSM configuration with its tokens below `directory`; set SOFTHSM2_CONF to the path returned."""
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "softhsm2.conf"
    path.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return path


def provision_token(
    module_path: str, label: str, so_pin_file: Path, pin_file: Path, keys: Sequence[KeyPlan]
) -> dict[str, str]:
    """A new token with these keys; key id to public key (PEM, SPKI). One module per process."""
    so_pin = os.open(so_pin_file, os.O_RDONLY | os.O_CLOEXEC)
    pin = os.open(pin_file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        p11.init_token(free_slot(module_path, "", label), label, so_pin)
        token = Token(TokenName(module_path, "", "", label))
        session = token.open_session(write=True)
        # C_InitPIN wants the security officer on a read-write session and no read-only one beside it
        token.close_anchor()
        p11.init_pin(session.handle, so_pin, pin)
        login(session.handle, str(pin_file), _NO_TAG_KEY)
        made = {plan.id: generate(session, plan.kind, plan.cka_id, plan.cka_label) for plan in keys}
        session.close()
    except CoreError as error:
        raise CannotStart(f"the token cannot be made: {error.message}", reason="TOKEN_FAILED") from None
    finally:
        os.close(so_pin)
        os.close(pin)
        with contextlib.suppress(CoreError):  # so that the next call reads the module's configuration anew
            p11.finalize()
    return {name: _pem(spki) for name, spki in made.items()}


def free_slot(module: str, reserved: str, label: str) -> int:
    """The first slot whose token is not initialised; refuses a label that is there already."""
    library = load(TokenName(module, reserved, "", label))
    try:
        for slot in library.get_slots(token_present=True):
            token = slot.get_token()
            if pkcs11.TokenFlag.TOKEN_INITIALIZED not in token.flags:
                return int(slot.slot_id)
            if token.label.strip() == label:
                raise CannotStart(f"a token {label!r} is there already", reason="TOKEN_AMBIGUOUS")
    except PKCS11Error as error:
        raise answered("the module's slots cannot be listed", error) from None
    raise CannotStart("no slot has an empty token", reason="TOKEN_NOT_FOUND")


def _pem(spki: bytes) -> str:
    return load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
