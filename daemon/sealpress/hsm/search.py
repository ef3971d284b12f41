"""Looks on every token of one module for a key that must be gone, in a process of its own (inquiry.py).

It is told what to look for and which PIN files there are. Private objects can be seen on a token only after a login, so
it says where it had none.

Guarantees: objects are counted that have the key's id, its label, or its public key; no PIN is a Python object. Does
not: destroy.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sealpress.core import p11
from sealpress.errors import CannotStart
from sealpress.hsm import inquiry, objects
from sealpress.hsm.custodian import SlotSearched
from sealpress.hsm.module import Token, TokenName

_NO_TAG_KEY = bytes(p11.TAG_BYTES)  # nothing is remembered here


class Known(msgspec.Struct, frozen=True):
    """A token that the configuration has a PIN for."""

    slot: str
    label: str
    serial: str
    pin_file: str


class Ask(msgspec.Struct, frozen=True):
    """What to look for, in which module."""

    module: str
    reserved: str
    known: tuple[Known, ...]
    cka_id: bytes
    cka_label: str
    spki: bytes


def search_all(asks: Sequence[Ask]) -> tuple[SlotSearched, ...]:
    """One process after another; CannotStart if one does not answer: then nobody knows."""
    found: list[SlotSearched] = []
    for ask in asks:
        try:
            found += inquiry.ask("sealpress.hsm.search", ask, list[SlotSearched])
        except inquiry.NoAnswer as error:
            raise CannotStart(
                f"{ask.module}: the search for the key failed: {error}",
                reason="SEARCH_FAILED",
                hint="until every slot was searched nobody knows that the key is gone",
            ) from None
    return tuple(found)


def search(ask: Ask) -> list[SlotSearched]:
    """Every token that the module shows."""
    searched = []
    tokens: list[TokenName] | None = None
    for known in ask.known:
        token = Token(TokenName(ask.module, ask.reserved, known.serial, known.label))
        tokens = token.others() if tokens is None else tokens
        if known.pin_file:
            token.login(known.pin_file, _NO_TAG_KEY, ())
        searched.append(_searched(ask, token, TokenName("", "", token.serial, known.label), known))
    seen = {(one.serial, one.label) for one in searched}
    for name in tokens or []:
        if (name.serial, name.label) not in seen and name.label:
            token = Token(TokenName(ask.module, ask.reserved, name.serial, name.label))
            searched.append(_searched(ask, token, name, None))
    return searched


def _searched(ask: Ask, token: Token, name: TokenName, known: Known | None) -> SlotSearched:
    private, public = objects.find(token.open_session(), ask.cka_id, ask.cka_label, ask.spki)
    return SlotSearched(
        module=ask.module,
        label=name.label,
        serial=name.serial,
        slot=known.slot if known is not None else "",
        logged_in=known is not None and bool(known.pin_file),
        found=len(private) + len(public),
    )


if __name__ == "__main__":
    inquiry.answer(Ask, search)
