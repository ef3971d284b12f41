"""What a worker finds on its token: mechanisms, its keys with their attributes, keys that nobody configured (GR-01).

Guarantees: everything is as the token tells it at this moment; looks at OBJECTS_MAX private keys and names
STRANGERS_MAX strangers at most. Does not: judge (inventory.py), use a key, or change one.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error

from sealpress.hsm import messages as m
from sealpress.hsm import objects
from sealpress.hsm.module import Token

OBJECTS_MAX = 4_096
STRANGERS_MAX = 64
NAME_MAX = 64


def take(token: Token, ask: m.WorkerOpen) -> m.Stock:
    """The token must be logged in: private keys are seen by nobody else. CannotStart TOKEN_FAILED."""
    keys: dict[str, m.KeyStock] = {}
    strangers: list[m.Stranger] = []
    count = 0
    for private in token.private_keys(OBJECTS_MAX):
        cka_id, label = objects.named(private)
        names = [key.name for key in ask.keys if _is(key, cka_id, label)]
        if names:
            told = objects.attributes(private)
            operations = objects.counted(private, ask.operations_attribute) if ask.operations_attribute else None
            keys.update((name, m.KeyStock(told, operations)) for name in names)
        elif _signs(private):
            spki = token.spki_of(private)
            key_id = hashlib.sha256(spki).digest() if spki else b""
            if key_id not in ask.known:
                count += 1
                if len(strangers) < STRANGERS_MAX:
                    strangers.append(m.Stranger(label[:NAME_MAX], cka_id[:NAME_MAX], key_id))
    strangers.sort(key=lambda one: (one.label, one.cka_id))
    return m.Stock(token.maker, token.serial, tuple(sorted(token.mechanisms)), keys, tuple(strangers), count)


def _is(key: m.WorkerKey, cka_id: bytes, label: str) -> bool:
    return key.cka_id in (b"", cka_id) and key.cka_label in ("", label)


def _signs(private: Any) -> bool:
    """Unless the token says that it does not."""
    try:
        return bool(private[Attribute.SIGN])
    except PKCS11Error:
        return True
