"""Key objects of a token by id and label, from one list of them.

Many a token looks at all that it has for each search: six hundred keys, each searched for by itself, took it half a
minute, at every start of a worker. Listed once they take it a tenth of a second.

Guarantees: a handle is that of the one private key of that id and label, beside a public key that is the pinned one.
Does not: decide what is missing, or which of several is meant: what is not found here for certain is searched for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sealpress.hsm import objects
from sealpress.hsm import work as w
from sealpress.hsm.module import Token

OBJECTS_PER_KEY = 4  # of a token that has more for each key that is wanted, most are not ours: they are not listed


class Shelf:
    """Private or public keys; several may have one name."""

    def __init__(self, keys: Sequence[Any]) -> None:
        """As one list of the token had them."""
        self._named: defaultdict[tuple[bytes, str], list[Any]] = defaultdict(list)
        for key in keys:
            for name in names(*objects.named(key)):
                self._named[name].append(key)

    def find(self, cka_id: bytes, label: str) -> list[Any]:
        """Those with this id and this label; an empty one is any."""
        return self._named.get((cka_id, label), [])

    def spki(self, cka_id: bytes, label: str) -> bytes:
        """Of the only one of that name; empty if there is none, or several, or the token does not tell it."""
        found = self.find(cka_id, label)
        return (objects.told_spki(found[0]) or b"") if len(found) == 1 else b""


def names(cka_id: bytes, label: str) -> set[tuple[bytes, str]]:
    """By what an object with both can be asked for."""
    return {(cka_id, label), (cka_id, ""), (b"", label)}


def find_keys(token: Token, keys: Sequence[w.WorkerKey]) -> dict[str, int]:
    """The handle of each key, by name. CannotStart: KEY_NOT_FOUND, KEY_MISMATCH, TOKEN_FAILED."""
    most = OBJECTS_PER_KEY * len(keys)
    private, public = token.private_keys(most + 1), token.public_keys(most + 1)
    if max(len(private), len(public)) > most:
        private = public = []
    ours, halves = Shelf(private), Shelf(public)
    return {
        key.name: _handle(key, ours, halves) or token.find_key(key.name, key.cka_id, key.cka_label, key.spki)
        for key in keys
    }


def _handle(key: w.WorkerKey, private: Shelf, public: Shelf) -> int:
    """0 if it is not certain; no object has that handle."""
    found = private.find(key.cka_id, key.cka_label)
    if len(found) != 1 or key.spki not in map(objects.told_spki, public.find(key.cka_id, key.cka_label)):
        return 0
    return int(found[0].handle)
