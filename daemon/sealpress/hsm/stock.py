"""What a worker finds on its token: mechanisms, its keys with their attributes, keys that nobody configured (GR-01).

Guarantees: everything is as the token tells it at this moment; looks at OBJECTS_MAX private keys, and as many public
ones if any are strangers', in one search each, and names w.STRANGERS_MAX strangers at most. Does not: judge
(inventory.py), use a key, or change one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error

from sealpress.hsm import objects
from sealpress.hsm import work as w
from sealpress.hsm.module import Token
from sealpress.hsm.shelf import Shelf, names

OBJECTS_MAX = 4_096


def take(token: Token, ask: w.WorkerOpen) -> w.Stock:
    """The token must be logged in: private keys are seen by nobody else. CannotStart TOKEN_FAILED."""
    keys: dict[str, w.KeyStock] = {}
    strangers: list[w.Stranger] = []
    count = 0
    wanted: defaultdict[tuple[bytes, str], list[str]] = defaultdict(list)
    for key in ask.keys:
        wanted[key.cka_id, key.cka_label].append(key.name)
    public: Shelf | None = None  # listed for the first that is not ours
    for private in token.private_keys(OBJECTS_MAX):
        cka_id, label = objects.named(private)
        ours = [name for one in names(cka_id, label) for name in wanted.get(one, ())]
        if ours:
            told = objects.attributes(private)
            operations = objects.counted(private, ask.operations_attribute) if ask.operations_attribute else None
            keys.update((name, w.KeyStock(told, operations)) for name in ours)
        elif _signs(private):
            public = public or Shelf(token.public_keys(OBJECTS_MAX))
            spki = public.spki(cka_id, label)
            key_id = hashlib.sha256(spki).digest() if spki else b""
            if key_id not in ask.known:
                count += 1
                if len(strangers) < w.STRANGERS_MAX:
                    strangers.append(w.Stranger(label[: w.NAME_MAX], cka_id[: w.NAME_MAX], key_id))
    strangers.sort(key=lambda one: (one.label, one.cka_id))
    return w.Stock(token.maker, token.serial, tuple(sorted(token.mechanisms)), keys, tuple(strangers), count)


def _signs(private: Any) -> bool:
    """Unless the token says that it does not."""
    try:
        return bool(private[Attribute.SIGN])
    except PKCS11Error:
        return True
