"""Is a race fair: does a baseline do no more than what it stands for needs, and a side all that its name says?"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import bench_batch, bench_calls, bench_tree
from sealpress.v1 import signing_pb2 as pb


def test_the_tree_s_baseline_hashes_each_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a caller would write makes the salts of two leaves with one hash, as the core does."""
    hashed: Counter[bytes] = Counter()
    sha256 = hashlib.sha256

    class Counting:
        """hashlib, which notes what it is given."""

        @staticmethod
        def sha256(message: bytes) -> object:
            """The same."""
            hashed[message] += 1
            return sha256(message)

    monkeypatch.setattr(bench_tree, "hashlib", Counting)
    leaves = bench_tree.hashlib_leaves(b"front", bytes(32), bytes(range(32)) * 5)

    assert len(leaves) == 5
    assert hashed.total() == 5 + 3


def test_the_disk_that_is_asked_for_has_room_for_a_minute_of_what_is_promised() -> None:
    """Three million items a second for a minute are no promise of a run that ends before it."""
    room = bench_batch.answers_max(bench_batch.FREE_MIN, bench_batch.ITEMS) * bench_batch.ITEMS

    assert room >= bench_batch.ITEMS_PER_S_MIN * 60


class Racing:
    """The fixture `ratio`, which runs each side once."""

    def race(self, *_: object, product: Callable[[], object], baseline: Callable[[], object], **_more: object) -> None:
        """Nothing is measured."""
        baseline()
        product()


@pytest.mark.parametrize("refused", ["node", "empty handler"])
def test_a_refusal_in_the_middle_of_a_race_is_no_answer(refused: str) -> None:
    """A node that refuses when it gets hot is quick with it; so is a server that lost half of the calls."""
    turns = {"node": 0, "empty handler": 0}

    def asked(side: str, count: int) -> list[pb.SignResponse]:
        turns[side] += 1
        if side != refused or (side, turns[side]) == ("node", 1):
            return [pb.SignResponse(proof=b"proof" if side == "node" else b"")] * count
        return [pb.SignResponse()] * (count if side == "node" else count - 1)

    sides = [partial(asked, side) for side in turns]
    with pytest.raises(AssertionError):
        bench_calls._race(Racing(), True, sides, ("Sign", "call/s", "empty handler"))  # type: ignore[arg-type]


def test_a_server_that_did_not_start_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for its connection would wait for ever."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    node = SimpleNamespace(directory=Path("/nowhere"))

    with pytest.raises(RuntimeError, match="stderr"), bench_calls.empty_server(node):  # type: ignore[arg-type]
        pass
