"""A front end that lies: whatever shape it sends, no token operation takes place and the mark stays where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from kit import shim
from kit.front import DIGEST, NOW, Front, accepted
from kit.signer import KEYS, ORIGIN, OTHER_ORIGIN, FakeLog, Node, line_of, make_node
from sealpress.core import leaf
from sealpress.errors import Damaged, Refusal
from sealpress.hsm import messages as m
from sealpress.hsm.link import DirectItem, EventLeaf, Openings
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
        frames = m.Frames(m.answer_decoder)
        try:
            writer.write((m.frame(m.Hello(m.VERSION)) if greet else b"") + data)
            async with asyncio.timeout(5):
                while True:
                    for answer in frames.feed(await reader.read(1 << 16)):
                        if not isinstance(answer, m.Hello | m.StatusView):
                            return answer
        finally:
            writer.close()

    async def raw_refused(self, data: bytes, *, greet: bool = True) -> None:
        """The same, as an exception."""
        answer = await self.raw(data, greet=greet)
        assert isinstance(answer, m.Refused)
        raise Refusal(answer.message, reason=answer.reason)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned node that tests copy."""
    directory = tmp_path_factory.mktemp("hostile")
    module = shim.build(directory)
    return make_node(directory / "n", keys=KEYS_USED, module=str(module), signer="leaves_per_minute_max = 1000")


@pytest.fixture
async def front(template: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Liar]:
    """A guard with an accepted head that holds one direct leaf; no token operation so far."""
    async with accepted(Liar, template, tmp_path, monkeypatch) as made:
        yield made


def raw_message(**fields: object) -> bytes:
    """A frame with any map in it."""
    body = msgspec.msgpack.encode(fields)
    return m.PREFIX.pack(len(body)) + body


async def _leaf_of_another_key(front: Front) -> None:
    index, opening = front.log.direct(bytes(91), DIRECT_LINE, DIGEST, NOW)
    await _told(front)
    await front.direct(front.log.item(index, opening, DIGEST))


async def _proof_leaf(front: Front) -> None:
    spki = front.node.public("direct-p256")
    spec = leaf.LeafSpec(1, 1, leaf.key_id(spki), leaf.scope(front.log.name, DIRECT_LINE), 0, NOW, bytes(32))
    front.log.tree.append(leaf.leaf_hashes(spec, bytes(32), DIGEST, 1))
    await _told(front)
    opening = leaf.opening(spec, leaf.salts(bytes(32), 0, 1))
    await front.direct(front.log.item(front.log.tree.size - 1, opening, DIGEST))


async def _told(front: Front) -> None:
    size, root, path = front.log.growth()
    await front.link.advance(ORIGIN, size, root, path, NOW)


async def _leaf_too_old(front: Front) -> None:
    front.clock.advance(301)
    await front.direct(front.item())


async def _leaf_from_future(front: Front) -> None:
    index, opening = front.log.direct(front.node.public("direct-p256"), DIRECT_LINE, DIGEST, NOW + 60)
    await _told(front)
    await front.direct(front.log.item(index, opening, DIGEST))


async def _unaccepted_head(front: Front) -> None:
    index, opening = front.log.direct(front.node.public("direct-p256"), DIRECT_LINE, DIGEST, NOW)
    await front.direct(front.log.item(index, opening, DIGEST), size=front.log.tree.size)


async def _stopped_key(front: Front) -> None:
    await front.link.stop("direct-p256")
    await front.direct(front.item())


async def _stopped_all(front: Front) -> None:
    await front.link.stop(None)
    await front.link.seal(ORIGIN, front.log.told, ["proof-p256"])


async def _growth(front: Front) -> None:
    old = front.log.told
    front.log.event(NOW, 1_000)
    size = front.log.tree.size
    await front.link.advance(ORIGIN, size, front.log.tree.root(), front.log.tree.growth(old, size), NOW)


async def _wrong_half(front: Front) -> None:
    other = FakeLog()
    other.event(NOW, front.log.told + 3)
    path = other.tree.growth(front.log.told, other.tree.size)
    await front.link.advance(ORIGIN, other.tree.size, other.tree.root(), path, NOW)


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
    "not even a map": ("BAD_REQUEST", lambda f: f.raw_refused(m.PREFIX.pack(5) + b"hello")),
    "oversized frame": ("TOO_LARGE", lambda f: f.raw_refused(m.PREFIX.pack(m.FRAME_BYTES_MAX + 1))),
    "no greeting": ("VERSION", lambda f: f.raw_refused(m.frame(m.Status(1)), greet=False)),
    "another version": ("VERSION", lambda f: f.raw_refused(m.frame(m.Hello(99)), greet=False)),
}


async def _seal(front: Liar, origin: str, size: int, *keys: str) -> None:
    await front.link.seal(origin, size, list(keys) or ["proof-p256"])


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_lie_reaches_no_token(front: Liar, shape: str) -> None:
    """Refused with its reason and counted; the module sees no C_Sign; the mark moves only by honest growth."""
    reason, attempt = SHAPES[shape]
    before = front.signer.guard.refused[reason]
    with pytest.raises(Refusal) as caught:
        await attempt(front)

    assert caught.value.reason == reason
    assert front.signer.guard.refused[reason] == before + 1
    assert (front.counters["C_Sign"], front.counters["C_SignInit"]) == (0, 0)
    mark = (await front.link.status()).logs[ORIGIN]
    assert (mark.size, mark.root) == (front.log.told, front.log.tree.root(front.log.told))


async def test_a_leaf_gets_one_signature(front: Front) -> None:
    """Asked twice at once and once more: one token operation, one signature."""
    answers = await asyncio.gather(
        *(front.link.direct("direct-p256", [front.item()] * 2, front.log.told) for _ in "ab")
    )
    results = [one for answer in answers for one in answer]
    (late,) = await front.link.direct("direct-p256", [front.item()], front.log.told)

    assert sorted(one.reason for one in results) == ["", "IN_FLIGHT", "IN_FLIGHT", "IN_FLIGHT"]
    assert (late.reason, front.counters["C_Sign"]) == ("ALREADY_SIGNED", 1)


async def test_a_leaf_of_an_earlier_accepted_head_is_signed(front: Front) -> None:
    """The log may have grown since: an older head, if it was accepted, still shows the leaf."""
    item, size = front.item(), front.log.told
    front.log.event(NOW, 10)
    await _told(front)

    (result,) = await front.link.direct("direct-p256", [item], size)
    assert result.signature


async def test_a_mark_that_cannot_be_written_ends_all_signing(front: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails under the mark: no signature leaves, then or later, and the process is told to end."""

    def fail(_: object) -> None:
        raise Damaged("no disk", reason="MARK_FAILED")

    book = front.signer.guard._books[ORIGIN]
    monkeypatch.setattr(book._file, "write", fail)
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            await front.link.seal(ORIGIN, front.log.told, ["proof-p256"])
        assert caught.value.reason == "SIGNER_STOPPING"
    assert (await front.signer.guard.failure).reason == "MARK_FAILED"


async def test_a_stop_beats_a_signature_under_way(front: Front) -> None:
    """The token is busy when the stop comes: what it returns is thrown away."""
    front.counters.delay("C_Sign", 300)
    asked = asyncio.create_task(front.link.direct("direct-p256", [front.item()], front.log.told))
    sealing = asyncio.create_task(front.link.seal(ORIGIN, front.log.told, ["proof-p256"]))
    await asyncio.sleep(0.1)
    await front.link.stop("direct-p256")
    await front.link.stop("proof-p256")

    assert [(one.signature, one.reason) for one in await asked] == [(b"", "STOPPED")]
    line = (await sealing).lines["proof-p256"]
    assert (line.line, line.reason) == (b"", "STOPPED")
