"""Randomness that is drawn ahead: nobody gets what another got."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from sealpress.entropy import POOL_BYTES, SystemEntropy

PIECE = 16
EACH = 3 * POOL_BYTES // PIECE  # several pages


def test_no_two_threads_get_the_same_bytes() -> None:
    """Every piece is another one, whoever asks and how often."""
    entropy = SystemEntropy()
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda _: [entropy.bytes(PIECE) for _ in range(EACH)], range(4)))
    pieces = [piece for part in parts for piece in part]

    assert len(set(pieces)) == len(pieces) == 4 * EACH
    assert {len(piece) for piece in pieces} == {PIECE}


def test_a_child_does_not_get_its_parents_bytes() -> None:
    """After a fork both ask the kernel anew for what they hand out."""
    entropy = SystemEntropy()
    entropy.bytes(PIECE)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writable, entropy.bytes(PIECE))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(readable, PIECE)
    os.close(readable)
    os.close(writable)

    assert len(theirs) == PIECE
    assert theirs != entropy.bytes(PIECE)


def test_a_large_piece_is_drawn_for_itself() -> None:
    """More than a quarter of a page is as many bytes as were asked for."""
    entropy = SystemEntropy()
    assert [len(entropy.bytes(size)) for size in (0, 1, POOL_BYTES // 4, POOL_BYTES, 3 * POOL_BYTES)] == [
        0, 1, POOL_BYTES // 4, POOL_BYTES, 3 * POOL_BYTES,
    ]  # fmt: skip
