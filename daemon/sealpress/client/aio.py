"""The asynchronous client: digests in, checked proofs and signatures out.

Guarantees: every answer was checked against the caller's own digests and the line's key; a retry carries the same
request id, so that nothing is signed twice; waits between retries are bounded; a stream whose connection ends, as each
does after an hour and when the daemon stops, goes on with the next. Does not: read artifacts or write files.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
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
from sealpress.client.connection import Connection
from sealpress.client.errors import retry_wait_ms
from sealpress.client.stream import UNNAMED, Sent, Source, StreamAnswer, StreamItem, end, patient, requests
from sealpress.core.digests import Hasher
from sealpress.errors import ConfigError, Invalid
from sealpress.v1 import audit_pb2, signing_pb2
from sealpress.values import Artifact, DigestAlgorithm

CHUNK_BYTES = 1 << 20
ATTEMPTS_MAX = 8
TAIL_SILENT_S = 30.0  # three of the daemon's signs of life
TIMEOUT_S = 360.0  # longer than the 300 s in which a leaf is sealed or lapses
ATTEMPT_S = 120.0  # without an answer, after which a signature is asked for again by its id
FORMER_MAX = 16  # keys that a line had; the daemon tells no more
T = TypeVar("T")


class AsyncClient:
    """One connection to each listener; use as an async context manager.

    A certificate that was replaced since is taken when a connection is refused or lost.
    """

    def __init__(self, config: ClientConfig, *, attempts_max: int = ATTEMPTS_MAX, timeout_s: float = TIMEOUT_S) -> None:
        """Checks our own certificate; connects on first use. ConfigError or TransportError if it will not do.

        `timeout_s` bounds each call as a whole, with its retries and what else it has to ask; of a stream, how long
        nothing may be heard of what is under way, of `tail` no less than TAIL_SILENT_S.
        """
        self.config = config
        self._to = Connection(config, attempts_max=attempts_max, timeout_s=timeout_s)
        self._lines: dict[str, LineInfo] = {}

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
        await self._to.close()

    # -- signing ---------------------------------------------------------------------------------------------------

    async def keys(self) -> list[LineInfo]:
        """The lines that we may request."""
        answer = await self._to.ask(lambda: self._to.signing.ListKeys, signing_pb2.ListKeysRequest())
        return [line_info(key) for key in answer.keys]

    def _line(self, line: str | None) -> str:
        name = line or self.config.line
        if not name:
            raise ConfigError("no line given", hint="use --key LINE, or set `line` in client.toml")
        return name

    async def key(self, line: str | None = None) -> LineInfo:
        """One line, remembered; default `line` of client.toml."""
        return await self._key(line)

    async def _key(self, line: str | None, until: float | None = None) -> LineInfo:
        name = self._line(line)
        if name not in self._lines:
            self._lines[name], *_ = await self._get_keys(name, until)
        return self._lines[name]

    async def _get_keys(self, name: str, until: float | None) -> list[LineInfo]:
        """The line with the key that it has, then with those that it had."""
        answer = await self._to.ask(lambda: self._to.signing.GetKey, signing_pb2.GetKeyRequest(key=name), until)
        found = [line_info(key) for key in (answer.key, *answer.former[:FORMER_MAX])]
        if any(info.line != name for info in found):
            raise Invalid("the answer is about another line", reason="ANSWER")
        return found

    async def _checked(self, line: str | None, check: Callable[[LineInfo], T], until: float | None = None) -> T:
        """What `check` makes of an answer with the line's key; if that fails, with its successor or a former one.

        A key may be activated at any time between two calls, and an answer to a request of before is of its former:
        whoever asked then may have been another process.
        """
        info = await self._key(line, until)
        try:
            return check(info)
        except Invalid:
            for other in await self._others(info, until):
                try:
                    return check(other)
                except Invalid:
                    continue
            raise

    async def _others(self, info: LineInfo, until: float | None) -> list[LineInfo]:
        """Keys that the line has now, or had, besides this one."""
        found = await self._get_keys(info.line, until)
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
        identifier, until = request_id or uuid.uuid4().hex, self._to.until()
        await self._key(line, until)  # first, for the answer may be of a key that another follows meanwhile
        request = sign_request(identifier, self._line(line), algorithm, digest, artifact, security_version, grant_id)
        asked = await self._to.ask(lambda: self._to.signing.Sign, request, until, attempt_s=ATTEMPT_S)
        answer = _about(identifier, asked)
        about = {"algorithm": algorithm, "digest": digest, "answer": answer, "security_version": security_version}
        return await self._checked(line, partial(check_answer, **about), until)

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
        identifier, until = request_id or uuid.uuid4().hex, self._to.until()
        await self._key(line, until)
        request = batch_request(
            identifier, self._line(line), algorithm, digests, names, sizes, security_version, expand=expand,
            grant_id=grant_id,
        )  # fmt: skip
        asked = await self._to.ask(lambda: self._to.signing.SignBatch, request, until, attempt_s=ATTEMPT_S)
        answer = _about(identifier, asked)
        about = {"algorithm": algorithm, "digests": digests, "answer": answer, "security_version": security_version}
        return await self._checked(line, partial(check_batch, **about), until)

    async def sign_stream(
        self, items: AsyncIterator[StreamItem] | Iterable[StreamItem], *, line: str | None = None
    ) -> AsyncIterator[StreamAnswer]:
        """Sign as they come; answers in the order of completion, one for each item.

        What has no answer when a connection ends is sent again on the next one, with its request id. So is what may be
        asked again after a while, as often as by `sign`; any other error of an item is its answer.
        """
        info = await self.key(line)
        source, under_way, attempt = Source(items), dict[str, StreamItem](), 0
        refused: dict[str, int] = {}  # of what is under way: how often it was to be asked again
        try:
            while True:
                over, pause_ms, again = asyncio.get_running_loop().create_future(), 0, set[str]()
                sent = Sent(requests(info.line, source, under_way, over))
                try:
                    call = self._to.signing.SignStream(sent, metadata=self._to.metadata())
                    async for answer in patient(call, self._to.timeout_s, lambda: bool(under_way)):
                        self._to.connected = True
                        item, error = under_way.get(answer.request_id), item_error(answer)
                        if item is None:
                            raise error or Invalid("an answer to nothing that was asked", reason="ANSWER")
                        tries = refused.pop(answer.request_id, 0)
                        wait_ms = retry_wait_ms(error, tries) if error else None
                        if wait_ms is not None and tries + 1 < self._to.attempts_max:
                            refused[answer.request_id], pause_ms = tries + 1, max(pause_ms, wait_ms)
                            again.add(answer.request_id)
                            end(over)  # this call takes nothing more of the source
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
                    broke: Exception = sent.error or self._to.error(error)
                except asyncio.CancelledError:
                    raise sent.error or asyncio.CancelledError from None
                end(over)
                attempt = await self._to.pause(broke, attempt)
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
        until = self._to.until()
        info = await self._key(line, until)
        hasher = Hasher(algorithm)
        header = sign_request(request_id or uuid.uuid4().hex, info.line, algorithm, expected, artifact, 0)

        async def parts() -> AsyncIterator[signing_pb2.SignContentRequest]:
            yield signing_pb2.SignContentRequest(header=header)
            for piece in content:
                for start in range(0, len(piece), CHUNK_BYTES):
                    chunk = piece[start : start + CHUNK_BYTES]
                    hasher.update(chunk)
                    yield signing_pb2.SignContentRequest(chunk=chunk)

        sent = Sent(parts())
        try:
            left_s = max(until - asyncio.get_running_loop().time(), 0.0)
            answer = await self._to.signing.SignContent(sent, timeout=left_s, metadata=self._to.metadata())
        except grpc.RpcError as error:
            raise self._to.error(error) from None
        except asyncio.CancelledError:
            raise sent.error or asyncio.CancelledError from None
        self._to.connected = True
        if not sent.whole:
            raise Invalid("the answer came before all of the content had left", reason="ANSWER")
        about = _about(header.request_id, answer)
        check = partial(check_answer, algorithm=algorithm, digest=hasher.final(), answer=about)
        return await self._checked(info.line, check, until)

    # -- audit -----------------------------------------------------------------------------------------------------

    async def get_checkpoint(self, log: str = "") -> bytes:
        """The newest sealed checkpoint, with the log's signature."""
        answer = await self._to.ask(lambda: self._to.audit.GetCheckpoint, audit_pb2.GetCheckpointRequest(log=log))
        return bytes(answer.checkpoint)

    async def get_proof(self, leaf_index: int, tree_size: int = 0, log: str = "") -> audit_pb2.GetProofResponse:
        """Inclusion of a leaf in a size (0: the newest sealed)."""
        request = audit_pb2.GetProofRequest(log=log, leaf_index=leaf_index, tree_size=tree_size)
        answer: audit_pb2.GetProofResponse = await self._to.ask(lambda: self._to.audit.GetProof, request)
        return answer

    async def get_consistency(
        self, old_size: int, new_size: int = 0, log: str = ""
    ) -> audit_pb2.GetConsistencyResponse:
        """Consistency of two sizes (new 0: the newest sealed)."""
        request = audit_pb2.GetConsistencyRequest(log=log, old_size=old_size, new_size=new_size)
        answer: audit_pb2.GetConsistencyResponse = await self._to.ask(lambda: self._to.audit.GetConsistency, request)
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
        answer = await self._to.ask(lambda: self._to.audit.Explain, request)
        return list(answer.events)

    async def get_status(self) -> audit_pb2.GetStatusResponse:
        """How the node is."""
        answer: audit_pb2.GetStatusResponse = await self._to.ask(
            lambda: self._to.audit.GetStatus, audit_pb2.GetStatusRequest()
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
                call = self._to.audit.Tail(request, metadata=self._to.metadata())
                async for answer in patient(call, max(self._to.timeout_s, TAIL_SILENT_S), lambda: True):
                    self._to.connected, attempt, from_seq = True, 0, answer.next_seq
                    if answer.HasField("event"):
                        yield answer.event
                return
            except grpc.RpcError as error:
                attempt = await self._to.pause(self._to.error(error), attempt)


def _about(request_id: str, answer: Any) -> Any:
    """The answer, if it is one to this request."""
    if answer.request_id != request_id:
        raise Invalid("the answer is about another request", reason="ANSWER")
    return answer
