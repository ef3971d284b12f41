"""SigningService: uses keys, never makes, changes or ends one.

Guarantees: at most `stream_items_pending_max` items of one stream are under way, the stream is read no faster; chunks
are hashed as they come and never held. Does not: decide (flow does) or check fields (convert does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sealpress.config import Limits
from sealpress.core.digests import Hasher
from sealpress.errors import Malformed, Refusal
from sealpress.flow import Flow
from sealpress.rpc import convert, status
from sealpress.rpc.interceptors import Callers, Context, guarded
from sealpress.steps import settle
from sealpress.steps._state import Caller
from sealpress.telemetry import Telemetry
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc

HASH_INLINE_MAX = 32 << 10  # bytes; larger chunks are hashed in a thread


class SigningService(signing_pb2_grpc.SigningServiceServicer):
    """The methods of protos/sealpress/v1/signing.proto."""

    def __init__(self, flow: Flow, callers: Callers, limits: Limits, telemetry: Telemetry) -> None:
        """One for all listeners."""
        self._flow = flow
        self._callers = callers
        self._limits = limits
        self.telemetry = telemetry

    @guarded
    async def Sign(self, request: pb.SignRequest, context: Context) -> pb.SignResponse:
        """One digest."""
        caller = self._callers.caller(context)
        return await self._sign(request, caller)

    @guarded
    async def SignBatch(self, request: pb.SignBatchRequest, context: Context) -> pb.SignBatchResponse:
        """N digests as one act."""
        caller = self._callers.caller(context)
        ask = convert.batch_ask(request, self._limits)
        settled = await self._flow.sign(ask, caller)
        proofs: list[bytes] = []
        if request.expand and not settled.signatures:
            proofs = await asyncio.get_running_loop().run_in_executor(None, settle.expand, settled)
        return convert.batch_response(request.request_id, settled, proofs)

    @guarded
    async def SignStream(self, requests: AsyncIterator[pb.SignRequest], context: Context) -> None:
        """Answers in the order of completion; a failed item does not end the stream."""
        caller = self._callers.caller(context)
        room = asyncio.Semaphore(self._limits.stream_items_pending_max)
        writing = asyncio.Lock()  # gRPC takes one message of a stream at a time

        async def one(request: pb.SignRequest) -> None:
            try:
                response = await self._item(request, self._callers.still(caller))
                async with writing:
                    await context.write(response)
            finally:
                room.release()

        async with asyncio.TaskGroup() as items:
            async for request in requests:
                await room.acquire()
                items.create_task(one(request))

    @guarded
    async def SignContent(self, parts: AsyncIterator[pb.SignContentRequest], context: Context) -> pb.SignResponse:
        """The daemon hashes."""
        caller = self._callers.caller(context)
        first = await anext(aiter(parts), None)
        if first is None or first.WhichOneof("part") != "header":
            raise Malformed("the first message must be the header", hint="send header, then chunks")
        header = first.header
        algorithm = convert.content_algorithm(header)
        # Asked before the content is read: nobody uploads gigabytes to hear that he may not.
        await self._flow.permit(caller, convert.line_name(header.key, self._limits))
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
        ask = convert.content_ask(header, algorithm, hasher.final(), size, self._limits)
        settled = await self._flow.sign(ask, self._callers.still(caller))
        return convert.sign_response(header.request_id, settled)

    @guarded
    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        """The lines that the caller may request."""
        caller = self._callers.caller(context)
        shared = self._flow.shared
        keys = []
        for name in sorted(shared.lines):
            if not caller.flaw and shared.snapshot.decide(caller.identity, name) is not None:
                rules = shared.snapshot.lines[name]
                line = shared.lines[name]
                keys.append(convert.key_message(line, rules.class_, rules.algorithms, shared.key_state(line)))
        return pb.ListKeysResponse(keys=keys)

    @guarded
    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.GetKeyResponse:
        """One line that the caller may request."""
        caller = self._callers.caller(context)
        name = convert.line_name(request.key, self._limits)
        await self._flow.permit(caller, name)
        shared = self._flow.shared
        rules, line = shared.snapshot.lines[name], shared.lines[name]
        key = convert.key_message(line, rules.class_, rules.algorithms, shared.key_state(line))
        return pb.GetKeyResponse(key=key)

    async def _sign(self, request: pb.SignRequest, caller: Caller) -> pb.SignResponse:
        ask = convert.sign_ask(request, self._limits)
        return convert.sign_response(request.request_id, await self._flow.sign(ask, caller))

    async def _item(self, request: pb.SignRequest, caller: Caller) -> pb.SignResponse:
        """An item's answer, or its error as one."""
        try:
            return await self._sign(request, caller)
        except Exception as error:  # as in `guarded`, no name of it outlives this block
            if not isinstance(error, Refusal):
                self.telemetry.internal("SignStream", error)
            refusal = status.to_refusal(error)
            self.telemetry.errored(refusal.reason)
            request_id = request.request_id[: self._limits.name_bytes_max]
            answer = pb.SignResponse(request_id=request_id, error=status.to_status(refusal))
            del refusal
            return answer

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
