"""A front end that has been taken over: an honest log, an accepted head, and 43 shapes of a lie about it.

Guarantees: a shape raises the Refusal that the guard answered; what it changes honestly, such as a head that it tells
in order to lie about a leaf in it, `log.told` knows. Does not: leave the log as it was: what it made to lie with stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from kit.front import DIGEST, NOW, Front
from kit.signer import KEYS, ORIGIN, OTHER_ORIGIN, FakeLog, line_of
from sealpress.core import leaf
from sealpress.errors import Refusal
from sealpress.hsm import frames
from sealpress.hsm import messages as m
from sealpress.hsm.leaves import DirectItem, EventLeaf, Openings
from sealpress.verify.evidence import Evidence

KEYS_USED = {name: KEYS[name] for name in ("proof-p256", "direct-p256", "other-p256")}
DIRECT_LINE = line_of("direct-p256")


class Liar(Front):
    """A front end with an honest log, an accepted head, and every means to lie."""

    def item(self) -> DirectItem:
        """The honest ask for it."""
        return self.log.item(*self.leaf)

    async def direct(self, item: DirectItem, key: str = "direct-p256", size: int | None = None) -> None:
        """Ask; a refused item counts as a refusal."""
        (result,) = await self.link.direct(key, [item], self.log.told if size is None else size)
        if result.reason:
            assert result.signature == b""
            raise Refusal("refused", reason=result.reason)

    async def advance(self, origin: str = ORIGIN, **change: object) -> None:
        """Ask with honest growth by one leaf, but for `change`."""
        old = self.log.tree.size
        self.log.event(NOW)
        size = self.log.tree.size
        fields = {
            "size": size,
            "root": self.log.tree.root(),
            "consistency": self.log.tree.growth(old, size),
            "newest_leaf_time": NOW,
            **change,
        }
        await self.link.advance(origin, **fields)  # type: ignore[arg-type]

    async def raw(self, data: bytes, *, greet: bool = True) -> m.Answer:
        """What comes back for any bytes."""
        reader, writer = await asyncio.open_unix_connection(str(self.node.socket))
        wire = frames.Frames(m.answer_decoder)
        try:
            writer.write((frames.frame(frames.Hello(frames.VERSION)) if greet else b"") + data)
            async with asyncio.timeout(5):
                while True:
                    for answer in wire.feed(await reader.read(1 << 16)):
                        if not isinstance(answer, frames.Hello | m.StatusView):
                            return answer
        finally:
            writer.close()

    async def raw_refused(self, data: bytes, *, greet: bool = True) -> None:
        """The same, as an exception."""
        answer = await self.raw(data, greet=greet)
        assert isinstance(answer, m.Refused)
        raise Refusal(answer.message, reason=answer.reason)


def raw_message(**fields: object) -> bytes:
    """A frame with any map in it."""
    body = msgspec.msgpack.encode(fields)
    return frames.PREFIX.pack(len(body)) + body


async def _leaf_of_another_key(front: Liar) -> None:
    index, opening = front.log.direct(bytes(91), DIRECT_LINE, DIGEST, NOW)
    await told(front)
    await front.direct(front.log.item(index, opening, DIGEST))


async def _proof_leaf(front: Liar) -> None:
    spki = front.node.public("direct-p256")
    spec = leaf.LeafSpec(1, 1, leaf.key_id(spki), leaf.scope(front.log.name, DIRECT_LINE), 0, NOW, bytes(32))
    front.log.tree.append(leaf.leaf_hashes(spec, bytes(32), DIGEST, 1))
    await told(front)
    opening = leaf.opening(spec, leaf.salts(bytes(32), 0, 1))
    await front.direct(front.log.item(front.log.tree.size - 1, opening, DIGEST))


async def told(front: Liar) -> None:
    """Tell the head of everything that is in the log."""
    size, root, path = front.log.growth()
    await front.link.advance(ORIGIN, size, root, path, NOW)


async def _leaf_too_old(front: Liar) -> None:
    front.clock.advance(301)
    await front.direct(front.item())


async def _leaf_from_future(front: Liar) -> None:
    index, opening = front.log.direct(front.node.public("direct-p256"), DIRECT_LINE, DIGEST, NOW + 60)
    await told(front)
    await front.direct(front.log.item(index, opening, DIGEST))


async def _unaccepted_head(front: Liar) -> None:
    index, opening = front.log.direct(front.node.public("direct-p256"), DIRECT_LINE, DIGEST, NOW)
    await front.direct(front.log.item(index, opening, DIGEST), size=front.log.tree.size)


async def _stopped_key(front: Liar) -> None:
    await front.link.stop("direct-p256")
    await front.direct(front.item())


async def _stopped_all(front: Liar) -> None:
    await front.link.stop(None)
    await front.link.seal(ORIGIN, front.log.told, ["proof-p256"])


async def _growth(front: Liar) -> None:
    old = front.log.told
    front.log.event(NOW, 1_000)
    size = front.log.tree.size
    await front.link.advance(ORIGIN, size, front.log.tree.root(), front.log.tree.growth(old, size), NOW)


async def _wrong_half(front: Liar) -> None:
    other = FakeLog()
    other.event(NOW, front.log.told + 3)
    path = other.tree.growth(front.log.told, other.tree.size)
    await front.link.advance(ORIGIN, other.tree.size, other.tree.root(), path, NOW)


def _raw_advance(**change: object) -> bytes:
    fields = {"size": 9, "root": bytes(32), "consistency": b"", "newest_leaf_time": NOW, **change}
    return raw_message(type="Advance", id=1, origin=ORIGIN, **fields)


Shape = Callable[[Liar], Awaitable[None]]
SHAPES: dict[str, tuple[str, Shape]] = {
    "smaller size": ("SIZE_NOT_GROWING", lambda f: f.advance(size=3)),
    "same size, other root": ("SIZE_NOT_GROWING", lambda f: f.advance(size=f.log.told, root=bytes(32))),
    "inconsistent head": ("INCONSISTENT", lambda f: f.advance(root=bytes(32))),
    "no consistency": ("INCONSISTENT", lambda f: f.advance(consistency=b"")),
    "another tree": ("INCONSISTENT", _wrong_half),
    "time ahead": ("LEAF_FROM_FUTURE", lambda f: f.advance(newest_leaf_time=NOW + 3)),
    "time back": ("TIME_WENT_BACK", lambda f: f.advance(newest_leaf_time=NOW - 1)),
    "unknown origin": ("UNKNOWN_ORIGIN", lambda f: f.advance(origin="dev.example/main/2")),
    "leaves opened where none are wanted": (
        "BAD_REQUEST",
        lambda f: f.advance(opened=Openings((EventLeaf(bytes(32), NOW),), ())),
    ),
    "growth beyond the cap": ("GROWTH_CAP", _growth),
    "head of a size not accepted": ("HEAD_NOT_CURRENT", lambda f: _seal(f, ORIGIN, f.log.told + 1)),
    "head of an empty log": ("HEAD_NOT_CURRENT", lambda f: _seal(f, OTHER_ORIGIN, 0, "other-p256")),
    "key of another log": ("KEY_OF_OTHER_LOG", lambda f: _seal(f, ORIGIN, f.log.told, "other-p256")),
    "direct key for a head": ("KEY_NOT_PROOF", lambda f: _seal(f, ORIGIN, f.log.told, "direct-p256")),
    "unknown key": ("UNKNOWN_KEY", lambda f: _seal(f, ORIGIN, f.log.told, "nobody")),
    "a key twice": ("BAD_REQUEST", lambda f: _seal(f, ORIGIN, f.log.told, "proof-p256", "proof-p256")),
    "proof key for a leaf": ("KEY_NOT_DIRECT", lambda f: f.direct(f.item(), key="proof-p256")),
    "digest without a leaf": ("NOT_IN_LOG", lambda f: f.direct(replace(f.item(), digest=bytes(32)))),
    "leaf of another index": ("NOT_IN_LOG", lambda f: f.direct(replace(f.item(), index=0))),
    "leaf of another key": ("NOT_IN_LOG", _leaf_of_another_key),
    "proof leaf": ("NOT_IN_LOG", _proof_leaf),
    "wrong digest length": ("DIGEST_LENGTH", lambda f: f.direct(replace(f.item(), digest=bytes(48)))),
    "leaf in a head not accepted": ("HEAD_NOT_ACCEPTED", _unaccepted_head),
    "leaf too old": ("LEAF_TOO_OLD", _leaf_too_old),
    "leaf from the future": ("LEAF_FROM_FUTURE", _leaf_from_future),
    "stopped key": ("STOPPED", _stopped_key),
    "everything stopped": ("STOPPED", _stopped_all),
    "lifting a stop": ("NOT_PERMITTED", lambda f: f.link.lift("direct-p256", Evidence(b"please", ()))),
    "free text": ("BAD_REQUEST", lambda f: f.raw_refused(raw_message(type="Sign", id=1, data=b"text"))),
    "free text beside a seal": (
        "BAD_REQUEST",
        lambda f: f.raw_refused(
            raw_message(type="Seal", id=1, origin=ORIGIN, size=5, keys=["proof-p256"], message=b"text")
        ),
    ),
    "a worker's message": (
        "BAD_REQUEST",
        lambda f: f.raw_refused(raw_message(type="WorkerSign", id=1, jobs=[["direct-p256", 0x1041, 0, 64, DIGEST]])),
    ),
    "not even a map": ("BAD_REQUEST", lambda f: f.raw_refused(frames.PREFIX.pack(5) + b"hello")),
    "oversized frame": ("TOO_LARGE", lambda f: f.raw_refused(frames.PREFIX.pack(frames.FRAME_BYTES_MAX + 1))),
    "no greeting": ("VERSION", lambda f: f.raw_refused(frames.frame(m.Status(1)), greet=False)),
    "half a hash in a path": ("BAD_REQUEST", lambda f: f.direct(replace(f.item(), path=bytes(31)))),
    "another salt": ("NOT_IN_LOG", lambda f: f.direct(replace(f.item(), opening=f.item().opening[:-1] + b"\0"))),
    "unknown digest algorithm": ("DIGEST_LENGTH", lambda f: f.direct(replace(f.item(), opening=b"\x09" + bytes(60)))),
    "key under a foreign origin": ("KEY_OF_OTHER_LOG", lambda f: _seal(f, OTHER_ORIGIN, f.log.told, "proof-p256")),
    "no leaves at all": (
        "BAD_REQUEST",
        lambda f: f.raw_refused(raw_message(type="Direct", id=1, key="direct-p256", size=5, items=[])),
    ),
    "a size below nothing": ("BAD_REQUEST", lambda f: f.raw_refused(_raw_advance(size=-1))),
    "a proof without end": ("BAD_REQUEST", lambda f: f.raw_refused(_raw_advance(consistency=bytes(129 * 32)))),
    "greeting twice": ("BAD_REQUEST", lambda f: f.raw_refused(frames.frame(frames.Hello(frames.VERSION)))),
    "another version": ("VERSION", lambda f: f.raw_refused(frames.frame(frames.Hello(99)), greet=False)),
}


async def _seal(front: Liar, origin: str, size: int, *keys: str) -> None:
    await front.link.seal(origin, size, list(keys) or ["proof-p256"])


LASTING = {"leaf too old", "stopped key", "everything stopped", "growth beyond the cap"}
"""Shapes after which honest asks are refused too."""
