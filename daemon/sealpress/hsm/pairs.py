"""Key pairs that a token makes: their attributes, and how each kind is asked for.

Guarantees: by the template the private half is sensitive and never leaves the token. Does not: decide whether a pair
may be made (custody.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.constants import DEFAULT
from pkcs11.exceptions import PKCS11Error

from sealpress.errors import CannotStart
from sealpress.hsm.module import answered
from sealpress.hsm.spki import public_spki
from sealpress.verify.curves import CURVES
from sealpress.verify.lattice import PARAMETER_SETS

_RSA_BITS = {f"rsa{bits}": bits for bits in (2048, 3072, 4096)}
_LATTICES = {known.kind: known.number for known in PARAMETER_SETS}
_ED25519 = bytes.fromhex("06032b6570")

PRIVATE_TEMPLATE = {
    Attribute.EXTRACTABLE: False,
    Attribute.SENSITIVE: True,
    Attribute.PRIVATE: True,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: DEFAULT,  # false unless asked for, and python-pkcs11 asks for it
}


def generate(session: Any, kind: str, cka_id: bytes, label: str) -> bytes:
    """A new key pair on the token, sensitive and not extractable; its SPKI. `kind` as in `values.KeyKind`."""
    try:
        public, _ = generate_pair(session, kind, cka_id, label, PRIVATE_TEMPLATE)
        spki = public_spki(public)
    except PKCS11Error as error:
        raise answered(f"the token makes no {kind} key", error) from None
    if spki is None:
        raise CannotStart(f"the token's new {kind} key cannot be read back", reason="TOKEN_FAILED")
    return spki


def generate_pair(
    session: Any,
    kind: str,
    cka_id: bytes,
    label: str,
    private: Mapping[Attribute, Any],
    public_template: Mapping[Attribute, Any] | None = None,
) -> tuple[Any, Any]:
    """The new public and private object, with these attributes; PKCS11Error as the token answers it."""
    parameters = {"ed25519": _ED25519, **{known.kind: known.oid for known in CURVES}}
    options: dict[str, Any] = {"id": cka_id, "label": label, "store": True, "private_template": dict(private)}
    options["public_template"] = dict(public_template or {})
    if kind in _RSA_BITS:
        public, made = session.generate_keypair(KeyType.RSA, _RSA_BITS[kind], **options)
        return public, made
    if kind in _LATTICES:
        options["public_template"][Attribute.PARAMETER_SET] = _LATTICES[kind]
        public, made = session.generate_keypair(KeyType.ML_DSA, **options)
        return public, made
    key_type = KeyType.EC_EDWARDS if kind == "ed25519" else KeyType.EC
    domain = session.create_domain_parameters(key_type, {Attribute.EC_PARAMS: parameters[kind]}, local=True)
    if kind == "ed25519":
        options["mechanism"] = pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN
    public, made = domain.generate_keypair(**options)
    return public, made
