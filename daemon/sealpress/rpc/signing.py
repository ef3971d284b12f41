"""SigningService: uses keys, never makes, changes or ends one.

What answers with a SignResponse answers with its bytes: the core writes them, and no message stands between.

Guarantees: chunks are hashed as they come and never held. Does not: decide (flow does), check fields (convert does), or
read and write a stream (streaming does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from sealpress.config import Limits
from sealpress.core.answer import Answers
from sealpress.core.digests import Hasher
from sealpress.errors import Malformed
from sealpress.flow import Flow
from sealpress.rpc import buffering, convert
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.rpc.streaming import Stream, Streams, ended_whole
from sealpress.steps import _answers
from sealpress.steps._request import Settled
from sealpress.steps._ticket import Line, Ticket
from sealpress.telemetry import Telemetry
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2

HASH_INLINE_MAX = 32 << 10  # bytes; larger chunks are hashed in a thread


class _Call:
    """A Sign that waits for its ticket (steps/_request.py `Waiter`): its answer is made with those of the same batch.

    Made by each call's own task, between the system calls that send the others, it would cost twice as much.
    """

    __slots__ = ("_answers", "answer")

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def done(self) -> bool:
        return self.answer.done()

    def set_result(self, settled: Settled) -> None:
        try:
            self.answer.set_result(convert.sign_response(settled, self._answers))
        except Exception as error:
            self.answer.set_exception(error)

    def set_exception(self, error: BaseException) -> None:
        self.answer.set_exception(error)


class SigningService(signing_pb2_grpc.SigningServiceServicer):
    """The methods of protos/sealpress/v1/signing.proto."""

    def __init__(self, flow: Flow, callers: Callers, limits: Limits, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._flow = flow
        self._callers = callers
        self._limits = limits
        self._answers = Answers()
        self._streams = Streams(limits)
        self.telemetry = telemetry

    @guarded
    async def Sign(self, request: pb.SignRequest, context: Context) -> bytes:
        """One digest."""
        caller = self._callers.caller(context)
        begun = self._flow.begin(convert.sign_ask(request, self._limits), caller)
        if not isinstance(begun, Ticket):
            return convert.sign_response(await begun, self._answers)
        waiter = _Call(self._answers)
        begun.join(waiter)
        try:
            return await waiter.answer
        finally:
            self._flow.leave(begun, waiter)

    @guarded
    async def SignBatch(self, request: pb.SignBatchRequest, context: Context) -> pb.SignBatchResponse:
        """N digests as one act."""
        caller = self._callers.caller(context)
        ask = convert.batch_ask(request, self._limits)
        settled = await self._flow.sign(ask, caller)
        proofs: list[bytes] = []
        if request.expand and not settled.signatures:
            proofs = await asyncio.get_running_loop().run_in_executor(None, _answers.expand, settled)
        return convert.batch_response(request.request_id, settled, proofs)

    @guarded
    async def SignStream(self, requests: AsyncIterator[pb.SignRequest], context: Context) -> None:
        """Answers in the order of completion; a failed item does not end the stream."""
        caller = self._callers.caller(context)
        stream = Stream(self._flow, self._answers, self._streams, self.telemetry, context)
        await stream.run(lambda: self._callers.still(caller, context))

    @guarded
    async def SignContent(self, parts: AsyncIterator[pb.SignContentRequest], context: Context) -> bytes:
        """The daemon hashes."""
        caller = self._callers.caller(context)
        first = await anext(aiter(parts), None)
        if first is None or first.WhichOneof("part") != "header":
            raise Malformed("the first message must be the header", hint="send header, then chunks")
        header = first.header
        # Asked before the content is read: nobody uploads gigabytes to hear that he may not.
        algorithm = convert.content_algorithm(header, self._limits)
        await self._flow.permit(caller, header.key)
        hasher, size = Hasher(algorithm), 0
        async for part in parts:
            if part.WhichOneof("part") != "chunk":
                raise Malformed("only chunks may follow the header", hint="one SignContent call signs one content")
            size += len(part.chunk)
            self._check_content(len(part.chunk), size)
            if len(part.chunk) <= HASH_INLINE_MAX:
                hasher.update(part.chunk)
            else:
                await asyncio.get_running_loop().run_in_executor(None, hasher.update, part.chunk)
        await ended_whole(context)
        ask = convert.content_ask(header, algorithm, hasher.final(), size, self._limits)
        settled = await self._flow.sign(ask, self._callers.still(caller, context))
        return convert.sign_response(settled, self._answers)

    @guarded
    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        """The lines that the caller may request."""
        caller = self._callers.caller(context)
        shared = self._flow.shared
        names = () if caller.flaw else shared.snapshot.requestable(caller.identity, shared.second())
        return pb.ListKeysResponse(keys=[self._key(name) for name in sorted(names) if name in shared.lines])

    @guarded
    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.GetKeyResponse:
        """One line that the caller may request, and the keys that it had."""
        caller = self._callers.caller(context)
        name = convert.line_name(request.key, self._limits)
        await self._flow.permit(caller, name)
        former = self._flow.shared.former(self._flow.shared.lines[name])
        return pb.GetKeyResponse(key=self._key(name), former=[self._message(line) for line in former])

    def _key(self, name: str) -> types_pb2.Key:
        return self._message(self._flow.shared.lines[name])

    def _message(self, line: Line) -> types_pb2.Key:
        rules = self._flow.shared.snapshot.lines[line.name]
        return convert.key_message(line, rules.class_, rules.algorithms, self._flow.shared.key_state(line))

    def _check_content(self, chunk: int, size: int) -> None:
        limits = self._limits
        if chunk > limits.chunk_bytes_max:
            raise Malformed(
                f"a chunk of {chunk} bytes is more than {limits.chunk_bytes_max}",
                reason="TOO_LARGE",
                hint="send smaller chunks",
            )
        if size > limits.content_bytes_max:
            raise Malformed(
                f"the content is more than {limits.content_bytes_max} bytes",
                reason="TOO_LARGE",
                hint="hash it yourself and use Sign",
            )


def add_to_server(service: SigningService, server: Any) -> None:
    """As the generated function does, but what a method answers as bytes goes out as it is, and may go out together."""
    buffering.enable()
    unary = grpc.unary_unary_rpc_method_handler
    handlers = {
        "Sign": unary(service.Sign, pb.SignRequest.FromString),
        "SignBatch": unary(service.SignBatch, pb.SignBatchRequest.FromString, pb.SignBatchResponse.SerializeToString),
        "SignStream": grpc.stream_stream_rpc_method_handler(service.SignStream, pb.SignRequest.FromString),
        "SignContent": grpc.stream_unary_rpc_method_handler(service.SignContent, pb.SignContentRequest.FromString),
        "ListKeys": unary(service.ListKeys, pb.ListKeysRequest.FromString, pb.ListKeysResponse.SerializeToString),
        "GetKey": unary(service.GetKey, pb.GetKeyRequest.FromString, pb.GetKeyResponse.SerializeToString),
    }
    name = pb.DESCRIPTOR.services_by_name["SigningService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)
