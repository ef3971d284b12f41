"""Does a slot with many keys open as one with few: listed once, and searched only for what a list cannot tell?

Each question gets a process of its own, with the token behind the shim, which counts the searches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pkcs11 import Attribute
from pkcs11.exceptions import AttributeTypeInvalid

from kit import shim
from kit.signer import SOFTHSM, Node, make_node
from sealpress.hsm.shelf import Shelf

TESTS = Path(__file__).resolve().parents[2]
COUNT = 12
PRELUDE = f"""
import hashlib, os, sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from kit.shim import *
from sealpress.clock import SystemClock
from sealpress.errors import CannotStart
from sealpress.hsm import stock
from sealpress.hsm.work import WorkerKey, WorkerOpen
from sealpress.hsm.pool import SlotPool
from sealpress.verify.note import canonical_spki
directory, page, path = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
shim = Shim(page, {SOFTHSM!r})
os.environ.update(shim.env)
SPKI = [canonical_spki((directory / "keys" / f"k{{at}}.pem").read_bytes()) for at in range({COUNT})]
KNOWN = tuple(hashlib.sha256(spki).digest() for spki in SPKI)
KEYS = tuple(WorkerKey(f"k{{at}}", bytes([0xA0 + at]) if at % 3 else b"", f"k{{at}}" if at % 2 or at % 3 == 0 else "",
             SPKI[at]) for at in range({COUNT}))
def ask(keys, known=KNOWN):
    return WorkerOpen("s1", path, "", "", "kit", str(directory / "pin"), 1, bytes(32), (), keys, known)
def searches(work):
    before = shim["C_FindObjectsInit"]
    found = work()
    return found, shim["C_FindObjectsInit"] - before
def opened(keys): return searches(lambda: SlotPool(ask(keys), SystemClock()))
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A token with a dozen keys, asked for by id, by label, and by both."""
    keys = {f"k{at}": ("p256", "main", "direct", "ecdsa-der") for at in range(COUNT)}
    return make_node(tmp_path_factory.mktemp("shelf") / "n", keys=keys)


def run(node: Node, place: Path, script: str) -> None:
    """Run a script that must end well."""
    shim.run(PRELUDE + script, node.directory, node.env, place)


def test_many_keys_take_as_many_searches_as_few(node: Node, tmp_path: Path) -> None:
    """Tokens that look at all their objects for each search would keep a slot of hundreds down for half a minute."""
    script = """
pool, count = opened(KEYS)
assert count == 2 and set(pool._handles.keys) == {key.name for key in KEYS}
assert len(set(pool._handles.keys.values())) == len(KEYS)
found, count = searches(lambda: stock.take(pool.token, ask(KEYS)))
assert count == 1 and set(found.keys) == {key.name for key in KEYS} and not found.strangers_count
"""
    run(node, tmp_path, script)


def test_keys_of_others_are_named_by_one_search(node: Node, tmp_path: Path) -> None:
    """A partition that many share: whose keys they are is found for all of them together."""
    script = """
pool, _ = opened(KEYS)
found, count = searches(lambda: stock.take(pool.token, ask(KEYS[:3], KNOWN[:9])))
assert count == 2 and set(found.keys) == {"k0", "k1", "k2"}
assert [one.label for one in found.strangers] == ["k10", "k11", "k9"] and found.strangers_count == 3
assert {one.key_id for one in found.strangers} == set(KNOWN[9:])
"""
    run(node, tmp_path, script)


def test_a_few_keys_among_many_of_others_are_searched_for(node: Node, tmp_path: Path) -> None:
    """A token that others fill is not read from end to end for one key."""
    script = """
pool, count = opened(KEYS[:2])
assert count == 2 + 2 * 2 and set(pool._handles.keys) == {"k0", "k1"}
"""
    run(node, tmp_path, script)


@pytest.mark.parametrize(("id_", "reason"), [(0xEE, "KEY_NOT_FOUND"), (0xA4, "KEY_MISMATCH")])
def test_a_key_that_is_not_there_is_missed_by_its_name(node: Node, tmp_path: Path, id_: int, reason: str) -> None:
    """Among many, too: none of that id, or another key under it."""
    script = f"""
try:
    opened((*KEYS, WorkerKey("lost", bytes([{id_}]), "", SPKI[3])))
except CannotStart as error:
    assert error.reason == {reason!r} and "key lost" in error.message, error.message
else:
    raise AssertionError("it was found")
"""
    run(node, tmp_path, script)


def test_a_label_that_is_no_text_keeps_no_other_key_from_being_found() -> None:
    """Whoever shares the token may have named his key as he liked, or the token tells no name at all."""

    class Odd:
        handle = 7

        def __getitem__(self, name: Attribute) -> bytes:
            if name is Attribute.LABEL:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "it is no text")
            raise AttributeTypeInvalid

    class Ours(Odd):
        def __getitem__(self, name: Attribute) -> Any:
            return {Attribute.ID: b"1", Attribute.LABEL: "ours"}[name]

    odd, ours = Odd(), Ours()
    shelf = Shelf([odd, ours])
    assert shelf.find(b"1", "") == shelf.find(b"", "ours") == shelf.find(b"1", "ours") == [ours]
    assert shelf.find(b"2", "") == shelf.find(b"2", "ours") == []
