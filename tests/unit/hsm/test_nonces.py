"""One ECDSA nonce for two messages is seen; whoever looks like it and is not, is left alone."""

from __future__ import annotations

import hashlib

from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.work import WorkerJob

ECDSA, EDDSA = 0x1041, 0x1057


def job(text: str, mechanism: int = ECDSA) -> WorkerJob:
    """To sign this."""
    return WorkerJob("k", mechanism, 0, 64, hashlib.sha256(text.encode()).digest())


def raw(r: int, s: int = 1) -> bytes:
    """r and s as tokens give them."""
    return r.to_bytes(32) + s.to_bytes(32)


def test_one_r_for_two_messages_is_an_alarm() -> None:
    """The same r over another message, by the same key: seen each time it comes."""
    nonces = RecentNonces()
    assert not nonces.repeated(b"key", job("a"), raw(7))
    assert nonces.repeated(b"key", job("b"), raw(7, 2))
    assert nonces.repeated(b"key", job("c"), raw(7, 3))


def test_what_is_no_repeat() -> None:
    """The same message again, another key, another r, and a mechanism without nonce."""
    nonces = RecentNonces()
    nonces.repeated(b"key", job("a"), raw(7))
    assert not nonces.repeated(b"key", job("a"), raw(7))
    assert not nonces.repeated(b"other", job("b"), raw(7))
    assert not nonces.repeated(b"key", job("b"), raw(8))
    assert not nonces.repeated(b"key", job("x", EDDSA), raw(7))
    assert not nonces.repeated(b"key", job("b"), b"")


def test_its_memory_is_bounded() -> None:
    """The newest ten are remembered, and none before them."""
    nonces = RecentNonces(most=10)
    for r in range(1, 100):
        nonces.repeated(b"key", job(str(r)), raw(r))
        assert not nonces.repeated(b"key", job("again"), raw(10_000 + r))
    assert [nonces.repeated(b"key", job("third"), raw(r)) for r in (99, 98, 97, 90)] == [True, True, True, False]
    assert len(nonces._pairs) == 320
