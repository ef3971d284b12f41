"""The socket from `serve` to the signer: typed calls out, signature lines back. No bytes to sign cross it.

Calls of one link are pipelined: the guard handles them in the order of the calls, so `advance` and the `seal` of the
same head may be sent without waiting between them. These and `direct` are sent when they return; what they return is
awaited for the answer. A lost connection fails the calls under way with Unavailable and is
made again in the background; `ready(key)` is false until the guard has said otherwise.

Guarantees: an answer is the guard's, or an error of the tree; no call waits longer than its deadline. Does not: load a
module, hold keys, or retry: a direct signature whose answer was lost is the caller's to record as unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from sealpress.errors import Internal, Malformed, Refusal, Unavailable
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.leaves import DirectItem, Openings, told_evidence, told_leaf
from sealpress.hsm.outcomes import DirectResult, Sealed, SealedLine, refusal, results_of
from sealpress.hsm.status import Mark, SignerStatus, status_of
from sealpress.verify.evidence import Evidence
from sealpress.verify.witness import Cosignature

if TYPE_CHECKING:
    from sealpress.core.merkle import Tree

RECONNECT_MS = 100
RECONNECT_MS_MAX = 2_000


def advance_path(tree: Tree, old_size: int, new_size: int) -> bytes:
    """What `advance` wants as consistency: the complete subtrees that lead from the accepted size to the new one."""
    return tree.growth(old_size, new_size)


A = TypeVar("A", m.Done, m.Sealed, m.Directed, m.StatusView, m.Probed)
T = TypeVar("T")
Ask: TypeAlias = m.Advance | m.Seal | m.Cosigned | m.Direct | m.Stop | m.Lift | m.Probe | m.Status
Call: TypeAlias = Coroutine[Any, Any, T]  # of a call that was sent: its answer


class SignerLink:
    """One connection to the guard, made again when it breaks."""

    def __init__(
        self, socket_path: Path, deadline_ms: int, on_change: Callable[[SignerStatus], None] | None = None
    ) -> None:
        """`deadline_ms` bounds every call; `on_change` hears of each push and, as an empty status, of a loss."""
        self._path = str(socket_path)
        self._deadline_s = deadline_ms / 1000
        self._on_change = on_change
        self._next_id = 1
        self._calls: dict[int, tuple[float, asyncio.Future[m.Answer]]] = {}  # by id, the oldest first; until when
        self._watch: asyncio.TimerHandle | None = None  # one for all: each may wait for as long as the others
        self._transport: asyncio.WriteTransport | None = None
        self._unsent = bytearray()
        self._status: SignerStatus | None = None
        self._other = ""  # what a signer of another release said
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0  # connections lost

    # ---- life ----

    async def connect(self) -> None:
        """Start connecting; returns when the guard has sent its first status. Unavailable after the deadline."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="signer-link")
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._up.wait()
        except TimeoutError:
            if self._other:
                raise _lost(self._path, self._other) from None
            raise Unavailable(
                f"the signer does not answer on {self._path}",
                hint="start it: sealpress signer --config FILE; this user's uid must be in [signer] users",
                retry_after_ms=RECONNECT_MS_MAX,
            ) from None

    async def close(self) -> None:
        """Disconnect and fail what is under way."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def connected(self) -> bool:
        """Whether the guard is there."""
        return self._up.is_set()

    def ready(self, key: str) -> bool:
        """Whether the guard said that this key can sign now (pushed, cached)."""
        status = self._status
        return status is not None and key in status.keys and status.keys[key].ready

    def why(self, key: str) -> str:
        """Why it cannot, by the same word; empty if it can, or nothing is known."""
        known = self._status.keys.get(key) if self._status is not None else None
        return known.reason if known is not None else ""

    @property
    def cached(self) -> SignerStatus | None:
        """The last status pushed, or None while there is no connection."""
        return self._status

    # ---- the interface ----

    async def status(self) -> SignerStatus:
        """Marks, keys and slots, as of now."""
        status = status_of(await self._call(m.Status(self._id()), m.StatusView))
        self._status = status
        return status

    async def mark(self, origin: str) -> Mark | None:
        """Of one log, as of now; None if the guard does not know it."""
        return (await self.status()).logs.get(origin)

    def advance(
        self,
        origin: str,
        size: int,
        root: bytes,
        consistency: bytes,
        newest_leaf_time: int,
        opened: Openings | None = None,
    ) -> Call[object]:
        """Have the guard accept a new head; `consistency` as of `advance_path`. Answered when its mark is durable.

        A log of class firmware or root wants its leaves `opened` instead.
        """
        ask = m.Advance(self._id(), origin, size, root, consistency, newest_leaf_time)
        if opened is not None:
            leaves, evidence = tuple(map(told_leaf, opened.leaves)), tuple(map(told_evidence, opened.evidence))
            ask = m.Advance(ask.id, origin, size, root, consistency, newest_leaf_time, leaves, evidence)
        return self._call(ask, m.Done)

    def seal(self, origin: str, size: int, keys: Sequence[str], *, hold: bool = False) -> Call[Sealed]:
        """Signature lines of the log key and of these proof keys under the last accepted head.

        `hold`: the guard remembers the head, so that it may be `cosigned`; held keys sign such a head.
        """
        return _sealed(self._call(m.Seal(self._id(), origin, size, tuple(keys), hold), m.Sealed))

    async def cosigned(self, origin: str, size: int, cosignatures: Sequence[Cosignature]) -> None:
        """Show the guard that the quorum has cosigned a head that was sealed with `hold`."""
        shown = tuple(m.Cosignature(one.key_id, one.time, one.signature) for one in cosignatures)
        await self._call(m.Cosigned(self._id(), origin, size, shown), m.Done)

    def direct(self, key: str, items: Sequence[DirectItem], size: int) -> Call[list[DirectResult]]:
        """A direct signature for each leaf, in order; `size`: of the accepted head that the paths lead to."""
        asks = [m.DirectAsk(item.opening, item.digest, item.index, item.path) for item in items]
        parts = [tuple(asks[at : at + m.DIRECT_ITEMS_MAX]) for at in range(0, len(asks), m.DIRECT_ITEMS_MAX)]
        calls = [self._call(m.Direct(self._id(), key, size, part), m.Directed) for part in parts]
        return _directed(calls, [len(part) for part in parts])

    async def stop(self, key: str | None) -> None:
        """No more signatures with this key (None: with any); durable when this returns.

        On a connection of its own: on ours it would wait behind calls that a token which hangs does not answer.
        """
        if not self.connected:
            raise _lost(self._path, self._other)
        passing = SignerLink(Path(self._path), round(1000 * self._deadline_s))
        try:
            await passing.connect()
            await passing._call(m.Stop(passing._id(), key), m.Done)
        finally:
            await passing.close()

    async def lift(self, key: str | None, evidence: Evidence) -> None:
        """End a stop; the guard judges the evidence: a change record of kind key.resume and its approvals."""
        await self._call(m.Lift(self._id(), key, told_evidence(evidence)), m.Done)

    async def probe(self) -> dict[str, int]:
        """Per slot how long its worker took to answer, in microseconds; -1 if it did not."""
        return (await self._call(m.Probe(self._id()), m.Probed)).latency_us

    # ---- the connection ----

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _call(self, ask: Ask, want: type[A]) -> Call[A]:
        """On its way when this returns, in the order of calls, if there is a connection."""
        future = None
        if self._transport is not None and self._up.is_set():
            loop = asyncio.get_running_loop()
            self._unsent += f.frame(ask)
            future = loop.create_future()
            self._calls[ask.id] = loop.time() + self._deadline_s, future
            if self._watch is None:
                self._watch = loop.call_later(self._deadline_s, self._expire)
            if isinstance(ask, m.Advance):
                loop.call_soon(self._send)  # the call under this head follows at once, and both are read at once
            else:
                self._send()
        return self._answered(future, ask, want)

    def _send(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(bytes(self._unsent))
            self._unsent.clear()

    async def _answered(self, future: asyncio.Future[m.Answer] | None, ask: Ask, want: type[A]) -> A:
        if future is None:
            raise _lost(self._path, self._other)
        try:
            answer = await future
        except (TimeoutError, Unavailable) as error:
            reason = "OUTCOME_UNKNOWN" if isinstance(ask, m.Direct) else "SLOT_DOWN"
            text = "the signer did not answer in time" if isinstance(error, TimeoutError) else error.message
            raise Unavailable(text, reason=reason, retry_after_ms=1_000) from None
        finally:
            self._calls.pop(ask.id, None)
        if isinstance(answer, m.Refused):
            raise refusal(answer)
        if not isinstance(answer, want):
            raise Internal("the signer answered with another kind of message")
        return answer

    async def _keep(self) -> None:
        loop, wait_ms = asyncio.get_running_loop(), RECONNECT_MS
        while True:
            try:
                transport, wire = await loop.create_unix_connection(lambda: _Wire(self._take), self._path)
            except OSError:
                self._other = ""
                await asyncio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, RECONNECT_MS_MAX)
                continue
            try:
                self._transport = transport
                await wire.lost
            finally:
                was_up = self._up.is_set()
                self._lose(transport)
            if was_up:
                wait_ms = RECONNECT_MS
            await asyncio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, RECONNECT_MS_MAX)

    def _take(self, answer: m.Answer) -> None:
        if isinstance(answer, f.Hello):
            if answer.version != f.VERSION:
                self._other = f"this signer speaks version {answer.version}"
                raise Malformed("the signer speaks another version", reason="VERSION")
        elif isinstance(answer, m.Refused) and answer.reason == "VERSION":
            self._other = answer.message
        elif isinstance(answer, m.StatusView) and answer.id == 0:
            self._status, self._other = status_of(answer), ""
            self._up.set()
            if self._on_change is not None:
                self._on_change(self._status)
        else:
            _, future = self._calls.pop(answer.id, (0.0, None))
            if future is not None and not future.done():
                future.set_result(answer)

    def _expire(self) -> None:
        """Fail the calls that have waited for too long, and come again when the oldest of the others will have."""
        self._watch, loop = None, asyncio.get_running_loop()
        while self._calls:
            id_, (until, future) = next(iter(self._calls.items()))
            if until > loop.time():
                self._watch = loop.call_at(until, self._expire)
                return
            del self._calls[id_]
            _fail(future, TimeoutError())

    def _lose(self, transport: asyncio.WriteTransport) -> None:
        self._up.clear()
        self._transport = None
        self._unsent.clear()
        self._status = None
        self.restarts += 1
        transport.close()
        for _, future in self._calls.values():
            _fail(future, _lost(self._path))
        self._calls.clear()
        if self._on_change is not None:
            self._on_change(SignerStatus("", {}, {}, {}, {}))


class _Wire(asyncio.Protocol):
    """One connection: says who we are, and cuts what comes into answers. `lost` is done when it has ended."""

    def __init__(self, take: Callable[[m.Answer], None]) -> None:
        self._frames, self._take = f.Frames(m.answer_decoder), take
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(f.frame(f.Hello(f.VERSION)))

    def data_received(self, data: bytes) -> None:
        if self.lost.done():
            return
        try:
            for answer in self._frames.feed(data):
                self._take(answer)
        except Malformed:
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._end()

    def _end(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


def _fail(future: asyncio.Future[m.Answer], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen, even if nobody waits for it any more


async def _sealed(call: Call[m.Sealed]) -> Sealed:
    answer = await call
    lines = {by.key: SealedLine(by.line, by.rv, by.latency_us, by.slot, by.reason) for by in answer.lines}
    return Sealed(answer.size, answer.time, answer.log_line, lines)


async def _directed(calls: Sequence[Call[m.Directed]], counts: Sequence[int]) -> list[DirectResult]:
    """The results of all parts; if one of several was refused, that is the result of each of its leaves."""
    if len(calls) == 1:
        return results_of(await calls[0])
    results: list[DirectResult] = []
    for answer, count in zip(await asyncio.gather(*calls, return_exceptions=True), counts, strict=True):
        if isinstance(answer, Refusal):
            results += [DirectResult(b"", 0, 0, "", answer.reason)] * count
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results += results_of(answer)
    return results


def _lost(path: str, other: str = "") -> Unavailable:
    if other:
        return Unavailable(
            f"{path}: {other}, this daemon version {f.VERSION} of their protocol",
            hint="they are of two releases: start both of the same, the signer first",
            retry_after_ms=RECONNECT_MS_MAX,
        )
    return Unavailable("the connection to the signer is lost", hint=f"is it running on {path}?", retry_after_ms=500)
