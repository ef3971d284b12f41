"""The asynchronous client: digests in, checked proofs and signatures out.

Guarantees: every answer was checked against the caller's own digests and the line's key; a retry carries the same
request id, so that nothing is signed twice; waits between retries are bounded; a stream whose connection ends, as each
does after an hour and when the daemon stops, goes on with the next. Does not: read artifacts or write files.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from sealpress.client.answers import (
    LineInfo,
    Signed,
    SignedBatch,
    batch_request,
    check_answer,
    check_batch,
    item_error,
    line_info,
    sign_request,
    wire_digest,
)
from sealpress.client.config import ClientConfig
from sealpress.client.errors import UNREACHED_MAX, from_rpc, retry_wait_ms
from sealpress.client.tls import KEEPALIVE, RECONNECT, credentials, stamps
from sealpress.client.token import TokenFile
from sealpress.core.digests import Hasher
from sealpress.errors import ConfigError, Invalid, Malformed, SealpressError, TransportError
from sealpress.v1 import audit_pb2, audit_pb2_grpc, signing_pb2, signing_pb2_grpc
from sealpress.values import Artifact, DigestAlgorithm

MESSAGE_BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 20
ATTEMPTS_MAX = 8
TIMEOUT_S = 120.0
DEADLINES_MAX = 3  # of one signature: longer than the 300 s in which its leaf is sealed or lapses
FORMER_MAX = 16  # keys that a line had; the daemon tells no more
UNNAMED = Artifact()
T = TypeVar("T")
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else clients of one process share a connection, and so its streams
    *KEEPALIVE,
    *RECONNECT,
)


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One item of `sign_stream`."""

    digest: bytes
    algorithm: DigestAlgorithm = DigestAlgorithm.SHA256
    request_id: str = ""
    artifact: Artifact = UNNAMED


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """What became of one item: `signed`, or `error` and the stream goes on."""

    item: StreamItem
    signed: Signed | None
    error: SealpressError | None


class AsyncClient:
    """One connection to each listener; use as an async context manager.

    A certificate that was replaced since is taken when a connection is refused or lost.
    """

    def __init__(self, config: ClientConfig, *, attempts_max: int = ATTEMPTS_MAX, timeout_s: float = TIMEOUT_S) -> None:
        """Checks our own certificate; connects on first use. TransportError if it cannot be accepted anywhere.

        `timeout_s` bounds an attempt; `sign` and `sign_batch` may have DEADLINES_MAX of them, all with one request id.
        """
        self.config = config
        self._attempts_max = attempts_max
        self._timeout_s = timeout_s
        self._token = TokenFile(config.path(config.token)) if config.token else None
        self._channels: list[grpc.aio.Channel] = []
        self._leaving: set[asyncio.Future[None]] = set()
        self._open()
        self._connected = False
        self._lines: dict[str, LineInfo] = {}

    def _open(self) -> None:
        """Channels with our certificate as it is now; what is under way on the former ones has its time to end."""
        self._files = stamps(self.config)
        trust, signing, audit = credentials(self.config), self.config.signing, self.config.audit or self.config.signing
        channels = {to: grpc.aio.secure_channel(to, trust, options=_OPTIONS) for to in (signing, audit)}
        leaving = {asyncio.ensure_future(channel.close(self._timeout_s)) for channel in self._channels}
        self._leaving = leaving | {one for one in self._leaving if not one.done()}
        self._channels = list(channels.values())
        self._signing: Any = signing_pb2_grpc.SigningServiceStub(channels[signing])  # type: ignore[no-untyped-call]
        self._audit: Any = audit_pb2_grpc.AuditServiceStub(channels[audit])  # type: ignore[no-untyped-call]

    def _renewed(self) -> bool:
        """Whether our certificate has another in its place, with which there are channels now."""
        if stamps(self.config) == self._files:
            return False
        with suppress(TransportError):  # for one whose key is still the former
            self._open()
            return True
        return False

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way end with CONNECTION_LOST."""
        for one in self._leaving:
            one.cancel()
        for channel in self._channels:
            await channel.close()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _ask(
        self, call: Callable[[], Callable[..., Awaitable[Any]]], request: Any, deadlines_max: int = 1
    ) -> Any:
        """One unary call with its retries. `deadlines_max`: how many times its time-out may pass, if it has an id."""
        attempt = late = 0
        while True:
            try:
                answer = await call()(request, timeout=self._timeout_s, metadata=self._metadata())
            except grpc.RpcError as error:
                found = self._error(error)
                late += found.reason == "DEADLINE"
                if found.reason != "DEADLINE" or late >= min(deadlines_max, self._attempts_max):
                    attempt = await self._pause(found, attempt)
                continue
            self._connected = True
            return answer

    async def _pause(self, found: Exception, attempt: int) -> int:
        """Until it may be asked again, for which time that will be; raises `found` if it may not."""
        if isinstance(found, TransportError) and self._renewed():
            return attempt
        wait_ms = retry_wait_ms(found, attempt)
        most = self._attempts_max
        if getattr(found, "reason", "") == "UNREACHABLE" and not self._connected:
            most = min(most, UNREACHED_MAX)
        if wait_ms is None or attempt + 1 >= most:
            raise found from None
        await asyncio.sleep(wait_ms / 1000)
        return attempt + 1

    def _metadata(self) -> tuple[tuple[str, str], ...] | None:
        """What proves who we are where a certificate does not; only ever sent over TLS."""
        return None if self._token is None else self._token.metadata()

    def _error(self, error: grpc.RpcError) -> SealpressError:
        found = from_rpc(error, connected=self._connected)
        self._connected = self._connected or error.code() is not grpc.StatusCode.UNAVAILABLE
        return found

    # -- signing ---------------------------------------------------------------------------------------------------

    async def keys(self) -> list[LineInfo]:
        """The lines that we may request."""
        answer = await self._ask(lambda: self._signing.ListKeys, signing_pb2.ListKeysRequest())
        return [line_info(key) for key in answer.keys]

    def _line(self, line: str | None) -> str:
        name = line or self.config.line
        if not name:
            raise ConfigError("no line given", hint="use --key LINE, or set `line` in client.toml")
        return name

    async def key(self, line: str | None = None) -> LineInfo:
        """One line, remembered; default `line` of client.toml."""
        name = self._line(line)
        if name not in self._lines:
            self._lines[name], *_ = await self._get_keys(name)
        return self._lines[name]

    async def _get_keys(self, name: str) -> list[LineInfo]:
        """The line with the key that it has, then with those that it had."""
        answer = await self._ask(lambda: self._signing.GetKey, signing_pb2.GetKeyRequest(key=name))
        found = [line_info(key) for key in (answer.key, *answer.former[:FORMER_MAX])]
        if any(info.line != name for info in found):
            raise Invalid("the answer is about another line", reason="ANSWER")
        return found

    async def _checked(self, line: str | None, check: Callable[[LineInfo], T]) -> T:
        """What `check` makes of an answer with the line's key; if that fails, with its successor or a former one.

        A key may be activated at any time between two calls, and an answer to a request of before is of its former:
        whoever asked then may have been another process.
        """
        info = await self.key(line)
        try:
            return check(info)
        except Invalid:
            for other in await self._others(info):
                try:
                    return check(other)
                except Invalid:
                    continue
            raise

    async def _others(self, info: LineInfo) -> list[LineInfo]:
        """Keys that the line has now, or had, besides this one."""
        found = await self._get_keys(info.line)
        self._lines[info.line] = found[0]
        return [one for one in found if one.key_id != info.key_id]

    async def sign(
        self,
        digest: bytes,
        algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
        *,
        line: str | None = None,
        request_id: str = "",
        artifact: Artifact = UNNAMED,
        security_version: int = 0,
        grant_id: str = "",
    ) -> Signed:
        """Sign one digest. Refusal, TransportError, or Invalid if the answer does not hold."""
        identifier = request_id or uuid.uuid4().hex
        await self.key(line)  # first, for the answer may be of a key that another follows meanwhile
        request = sign_request(identifier, self._line(line), algorithm, digest, artifact, security_version, grant_id)
        answer = _about(identifier, await self._ask(lambda: self._signing.Sign, request, DEADLINES_MAX))
        about = {"algorithm": algorithm, "digest": digest, "answer": answer, "security_version": security_version}
        return await self._checked(line, partial(check_answer, **about))

    async def sign_batch(
        self,
        digests: bytes,
        algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
        *,
        line: str | None = None,
        request_id: str = "",
        names: tuple[str, ...] = (),
        sizes: tuple[int, ...] = (),
        security_version: int = 0,
        grant_id: str = "",
        expand: bool = False,
    ) -> SignedBatch:
        """Sign N digests given end to end, as one act. The compact answer is expanded here, in C."""
        identifier = request_id or uuid.uuid4().hex
        await self.key(line)
        request = batch_request(
            identifier, self._line(line), algorithm, digests, names, sizes, security_version, expand=expand,
            grant_id=grant_id,
        )  # fmt: skip
        answer = _about(identifier, await self._ask(lambda: self._signing.SignBatch, request, DEADLINES_MAX))
        about = {"algorithm": algorithm, "digests": digests, "answer": answer, "security_version": security_version}
        return await self._checked(line, partial(check_batch, **about))

    async def sign_stream(
        self, items: AsyncIterator[StreamItem] | Iterable[StreamItem], *, line: str | None = None
    ) -> AsyncIterator[StreamAnswer]:
        """Sign as they come; answers in the order of completion, one for each item.

        What has no answer when a connection ends is sent again on the next one, with its request id. So is what may be
        asked again after a while, as often as by `sign`; any other error of an item is its answer.
        """
        info = await self.key(line)
        source, under_way, attempt = _Source(items), dict[str, StreamItem](), 0
        refused: dict[str, int] = {}  # of what is under way: how often it was to be asked again
        try:
            while True:
                over, pause_ms, again = asyncio.get_running_loop().create_future(), 0, set[str]()
                sent = _Sent(_requests(info.line, source, under_way, over))
                try:
                    async for answer in self._signing.SignStream(sent, metadata=self._metadata()):
                        self._connected = True
                        item, error = under_way.get(answer.request_id), item_error(answer)
                        if item is None:
                            raise error or Invalid("an answer to nothing that was asked", reason="ANSWER")
                        tries = refused.pop(answer.request_id, 0)
                        wait_ms = retry_wait_ms(error, tries) if error else None
                        if wait_ms is not None and tries + 1 < self._attempts_max:
                            refused[answer.request_id], pause_ms = tries + 1, max(pause_ms, wait_ms)
                            again.add(answer.request_id)
                            _end(over)  # this call takes nothing more of the source
                            continue
                        del under_way[answer.request_id]
                        attempt = 0
                        signed = None
                        if error is None:
                            check = partial(check_answer, algorithm=item.algorithm, digest=item.digest, answer=answer)
                            signed = await self._checked(info.line, check)
                        yield StreamAnswer(item, signed, error)
                    if under_way.keys() != again:
                        raise Invalid(f"{len(under_way) - len(again)} items have no answer", reason="ANSWER")
                    if not again:
                        return
                    await asyncio.sleep(pause_ms / 1000)
                    continue
                except grpc.RpcError as error:
                    broke: Exception = sent.error or self._error(error)
                except asyncio.CancelledError:
                    raise sent.error or asyncio.CancelledError from None
                _end(over)
                attempt = await self._pause(broke, attempt)
        finally:
            source.close()

    async def sign_content(
        self,
        content: Iterable[bytes],
        algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
        *,
        line: str | None = None,
        request_id: str = "",
        artifact: Artifact = UNNAMED,
        expected: bytes = b"",
    ) -> Signed:
        """The daemon hashes the content, and so do we: the answer must be over the same digest."""
        info = await self.key(line)
        hasher = Hasher(algorithm)
        header = sign_request(request_id or uuid.uuid4().hex, info.line, algorithm, expected, artifact, 0)

        async def parts() -> AsyncIterator[signing_pb2.SignContentRequest]:
            yield signing_pb2.SignContentRequest(header=header)
            for piece in content:
                for start in range(0, len(piece), CHUNK_BYTES):
                    chunk = piece[start : start + CHUNK_BYTES]
                    hasher.update(chunk)
                    yield signing_pb2.SignContentRequest(chunk=chunk)

        sent = _Sent(parts())
        try:
            answer = await self._signing.SignContent(sent, timeout=self._timeout_s, metadata=self._metadata())
        except grpc.RpcError as error:
            raise self._error(error) from None
        except asyncio.CancelledError:
            raise sent.error or asyncio.CancelledError from None
        self._connected = True
        if not sent.whole:
            raise Invalid("the answer came before all of the content had left", reason="ANSWER")
        about = _about(header.request_id, answer)
        return await self._checked(
            info.line, partial(check_answer, algorithm=algorithm, digest=hasher.final(), answer=about)
        )

    # -- audit -----------------------------------------------------------------------------------------------------

    async def get_checkpoint(self, log: str = "") -> bytes:
        """The newest sealed checkpoint, with the log's signature."""
        answer = await self._ask(lambda: self._audit.GetCheckpoint, audit_pb2.GetCheckpointRequest(log=log))
        return bytes(answer.checkpoint)

    async def get_proof(self, leaf_index: int, tree_size: int = 0, log: str = "") -> audit_pb2.GetProofResponse:
        """Inclusion of a leaf in a size (0: the newest sealed)."""
        request = audit_pb2.GetProofRequest(log=log, leaf_index=leaf_index, tree_size=tree_size)
        answer: audit_pb2.GetProofResponse = await self._ask(lambda: self._audit.GetProof, request)
        return answer

    async def get_consistency(
        self, old_size: int, new_size: int = 0, log: str = ""
    ) -> audit_pb2.GetConsistencyResponse:
        """Consistency of two sizes (new 0: the newest sealed)."""
        request = audit_pb2.GetConsistencyRequest(log=log, old_size=old_size, new_size=new_size)
        answer: audit_pb2.GetConsistencyResponse = await self._ask(lambda: self._audit.GetConsistency, request)
        return answer

    async def explain(
        self,
        *,
        digest: tuple[DigestAlgorithm, bytes] | None = None,
        event_id: str = "",
        signature_sha256: bytes = b"",
    ) -> list[audit_pb2.LogEvent]:
        """Everything recorded of one of them."""
        request = audit_pb2.ExplainRequest()
        if digest is not None:
            request.digest.CopyFrom(wire_digest(*digest))
        elif event_id:
            request.event_id = event_id
        else:
            request.signature_sha256 = signature_sha256
        answer = await self._ask(lambda: self._audit.Explain, request)
        return list(answer.events)

    async def get_status(self) -> audit_pb2.GetStatusResponse:
        """How the node is."""
        answer: audit_pb2.GetStatusResponse = await self._ask(
            lambda: self._audit.GetStatus, audit_pb2.GetStatusRequest()
        )
        return answer

    async def tail(
        self, from_seq: int = 0, *, follow: bool = False, log: str = ""
    ) -> AsyncIterator[audit_pb2.LogEvent]:
        """Events in order; with `follow` for ever."""
        attempt = 0
        while True:
            request = audit_pb2.TailRequest(log=log, from_seq=from_seq, follow=follow)
            try:
                async for answer in self._audit.Tail(request, metadata=self._metadata()):
                    self._connected, attempt, from_seq = True, 0, answer.next_seq
                    if answer.HasField("event"):
                        yield answer.event
                return
            except grpc.RpcError as error:
                attempt = await self._pause(self._error(error), attempt)


def _about(request_id: str, answer: Any) -> Any:
    """The answer, if it is one to this request."""
    if answer.request_id != request_id:
        raise Invalid("the answer is about another request", reason="ANSWER")
    return answer


class _Sent:
    """The messages of a call; when they cannot be made, gRPC says no more than that the call was cancelled."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._messages = messages
        self.error: Exception | None = None
        self.whole = False  # they have all left

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for message in self._messages:
                yield message
            self.whole = True
        except Exception as error:
            self.error = error
            raise


class _Source:
    """The caller's items, each once, whatever becomes of the call that was to carry it."""

    def __init__(self, items: AsyncIterator[StreamItem] | Iterable[StreamItem]) -> None:
        self._later = items if isinstance(items, AsyncIterator) else None
        self._now = iter(()) if isinstance(items, AsyncIterator) else iter(items)
        self._next: asyncio.Task[StreamItem | None] | None = None

    async def take(self, over: asyncio.Future[None]) -> StreamItem | None:
        """The next one; None: there are no more, or `over` is done, and whoever comes next gets it."""
        if over.done():
            return None
        if self._later is None:
            return next(self._now, None)
        if self._next is None:
            self._next = asyncio.ensure_future(self._one(self._later))
        await asyncio.wait((self._next, over), return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            return None
        taken, self._next = self._next, None
        return taken.result()

    @staticmethod
    async def _one(items: AsyncIterator[StreamItem]) -> StreamItem | None:
        return await anext(items, None)

    def close(self) -> None:
        """Nothing more is wanted."""
        if self._next is not None:
            self._next.cancel()


def _end(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


async def _requests(
    line: str, source: _Source, under_way: dict[str, StreamItem], over: asyncio.Future[None]
) -> AsyncIterator[signing_pb2.SignRequest]:
    """What an earlier call left without an answer, then what is new, until `over`."""
    for identifier, left in list(under_way.items()):
        yield sign_request(identifier, line, left.algorithm, left.digest, left.artifact, 0)
    while (item := await source.take(over)) is not None:
        identifier = item.request_id or uuid.uuid4().hex
        if identifier in under_way:
            raise Malformed(f"{identifier} is under way already", hint="each item has an id of its own")
        under_way[identifier] = item
        yield sign_request(identifier, line, item.algorithm, item.digest, item.artifact, 0)
