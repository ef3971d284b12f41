"""Looks on every token of one module for a key that must be gone: a process of its own, for a process has one module.

It is told on standard input what to look for and which PIN files there are, and answers on standard output. Private
objects can be seen on a token only after a login, so it says where it had none.

Guarantees: objects are counted that have the key's id, its label, or its public key; no PIN is a Python object. Does
not: destroy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from sealpress.core import p11
from sealpress.errors import CannotStart
from sealpress.hsm import objects
from sealpress.hsm.custodian import SlotSearched
from sealpress.hsm.module import Token, TokenName

SEARCH_S_MAX = 120
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
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sealpress.hsm.search"],
            input=msgspec.json.encode(ask),
            capture_output=True,
            timeout=SEARCH_S_MAX,
            check=False,
        )
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise CannotStart(
                f"{ask.module}: the search for the key failed: {words[-1] if words else done.returncode}",
                reason="SEARCH_FAILED",
                hint="until every slot was searched nobody knows that the key is gone",
            )
        found += msgspec.json.decode(done.stdout, type=list[SlotSearched])
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


def main() -> int:
    """Read the question, answer it."""
    p11.harden_process()
    try:
        found = search(msgspec.json.decode(sys.stdin.buffer.read(), type=Ask))
    except CannotStart as error:
        sys.stderr.write(f"{error.reason}: {error.message}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    code = main()
    os._exit(code)  # without the module's exit handlers, which may hang like the token that they belong to
