"""What stands around every call: who calls, and what he is told when it fails.

Wrapped around the methods when the class is made, not a grpc interceptor: those cost more per call than the signing of
a single digest does. Token listeners have one all the same (`Gate`): anybody can connect to them, so nothing of a call
is read, not even its first message, before its token was (DECISIONS/0014).

Guarantees: a call ends with its answer or with a status of rpc/status.py, also one whose message cannot be read; a
foreign exception is logged and told as INTERNAL. Does not: judge (flow does).
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
import msgspec
from google.protobuf.message import DecodeError

from sealpress.errors import Malformed, Refusal
from sealpress.ports import Clock
from sealpress.rpc import status
from sealpress.rpc.identity import EXPIRED, NANOSECONDS, Identities
from sealpress.rpc.tokens import EXPIRED as TOKEN_EXPIRED
from sealpress.rpc.tokens import REPLAYED, Tokens, bearer
from sealpress.steps._request import Caller
from sealpress.telemetry import Telemetry

CONNECTIONS_SEEN_MAX = 16_384

Context: TypeAlias = Any  # grpc.aio.ServicerContext; grpc has no types
Method = Callable[[Any, Any, Context], Awaitable[Any]]
M = TypeVar("M", bound=Method)

UNREADABLE = object()  # stands for a request that is no message of its method; `guarded` refuses it


class Callers:
    """Finds the caller of a call, and counts connections by the first call on each."""

    def __init__(self, clock: Clock, telemetry: Telemetry, tokens: Tokens | None = None) -> None:
        """Shared by all services of the daemon; `tokens` for its token listeners."""
        self._clock = clock
        self._identities = Identities(clock)
        self._tokens = tokens
        self._telemetry = telemetry
        self._seen: OrderedDict[str, None] = OrderedDict()

    def caller(self, context: Context, *, once: bool = False) -> Caller:
        """Who calls; the address is only recorded.

        The listener decides how: with mutual TLS nobody gets in without a certificate, for tokens none is asked for.
        `once`: for what may be had once for a token; a second time the caller has the flaw TOKEN_REPLAYED.
        """
        source = context.peer()
        if source not in self._seen:
            self._telemetry.connection_seen()
            self._seen[source] = None
            if len(self._seen) > CONNECTIONS_SEEN_MAX:
                self._seen.popitem(last=False)
        auth = context.auth_context()
        if self._tokens is None or auth.get("x509_pem_cert"):
            return self._identities.caller(auth, source, context.time_remaining())
        verified = self._tokens.identify(bearer(context.invocation_metadata()), source)
        caller = self._identities.bearer(verified.identity, verified.flaw, source, context.time_remaining())
        return self.consumed(caller) if once else caller

    def consumed(self, caller: Caller) -> Caller:
        """The caller, after the one use of his token; with a flaw if it was had. Certificates have no such limit."""
        if self._tokens is None or not caller.identity.token_sha256 or caller.flaw:
            return caller
        return caller if self._tokens.consume(caller.identity) else msgspec.structs.replace(caller, flaw=REPLAYED)

    def give_back(self, caller: Caller) -> None:
        """What `consumed` took of a token without flaw, where nothing came of it."""
        if self._tokens is not None and caller.identity.token_sha256:
            self._tokens.give_back(caller.identity)

    def still(self, caller: Caller, context: Context) -> Caller:
        """The caller later in a long call: with a flaw once his certificate or token has ended.

        A token whose issuer's keys are others by now is verified again; an error if it counts for nothing any more.
        """
        token = bool(caller.identity.token_sha256)
        skew_s = self._tokens.skew_s if token and self._tokens is not None else 0
        if not caller.flaw and self._clock.now_ns() >= (caller.identity.not_after + skew_s) * NANOSECONDS:
            return msgspec.structs.replace(caller, flaw=TOKEN_EXPIRED if token else EXPIRED)
        if token and self._tokens is not None and not self._tokens.stands(caller.identity):
            self._tokens.identify(bearer(context.invocation_metadata()), caller.source)
        return caller


class Guarded(Protocol):
    """A service whose methods are guarded."""

    telemetry: Telemetry


def guarded(method: M) -> M:
    """Turn every exception of a method into a status."""
    name = method.__name__

    @functools.wraps(method)
    async def call(self: Guarded, request: Any, context: Context) -> Any:
        try:
            if request is UNREADABLE:
                raise DecodeError
            return await method(self, request, context)
        except Exception as error:
            await _refuse(error, name, self.telemetry, context)
            return None

    return call  # type: ignore[return-value]


async def _refuse(error: Exception, name: str, telemetry: Telemetry, context: Context) -> None:
    """How this call ends when its method returns; what that returns is not sent.

    By `abort`, which sends nothing before the status. A method that returns sends headers and a message, even if it
    failed, and after those no client tries again by itself, whatever its policy says. But the call's state holds the
    error that `abort` raises, and with it the frames that hold the state; a name for `error` that outlives its except
    block would do the same. A node that refuses a lot would spend its time in the collector.
    """
    refusal = status.to_refusal(error)
    if refusal is status.INTERNAL:
        telemetry.internal(name, error)
    telemetry.errored(refusal.reason)
    rich = status.to_status(refusal)
    try:
        await context.abort(status.code_of(refusal), rich.message, status.trailing(refusal, rich))
    except grpc.aio.AbortError as aborted:
        aborted.__traceback__ = aborted.__context__ = None


class Readable:
    """A server to which services with guarded methods are added; a request that they cannot read is theirs to refuse.

    gRPC reads the one message of a unary call before there is a method, and answers itself what cannot be read, as an
    error of the daemon. Messages of a stream are read in the method.
    """

    def __init__(self, server: Any) -> None:
        """In place of this one."""
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Generated code adds each method as a registered one, too."""

    def add_registered_method_handlers(self, name: str, handlers: Mapping[str, Any]) -> None:
        """All methods of a service."""
        reading = {method: handler if handler.request_streaming else _reading(handler)
                   for method, handler in handlers.items()}  # fmt: skip
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, reading),))


def _reading(handler: Any) -> Any:
    deserializer = handler.request_deserializer

    def read(raw: bytes) -> Any:
        try:
            return deserializer(raw)
        except DecodeError:
            return UNREADABLE

    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(handler.unary_stream, read, handler.response_serializer)
    return grpc.unary_unary_rpc_method_handler(handler.unary_unary, read, handler.response_serializer)


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Of a token listener: whoever has no token is turned away before a message is read; health and reflection, too."""

    def __init__(self, callers: Callers, tokens: Tokens, telemetry: Telemetry) -> None:
        """For one listener or several."""
        self._callers = callers
        self._tokens = tokens
        self._telemetry = telemetry

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The method itself for a token that is known; otherwise one that looks at the token first."""
        handler = await continuation(details)
        if handler is None or self._known(details.invocation_metadata):
            return handler

        async def gate(requests: Any, context: Context) -> None:
            try:
                self._callers.caller(context)
                if not handler.request_streaming:
                    requests = await _only(requests)
            except Exception as error:
                await _refuse(error, "Gate", self._telemetry, context)
                return
            await _pass_on(handler, requests, context)

        return grpc.stream_stream_rpc_method_handler(gate, handler.request_deserializer, handler.response_serializer)

    def _known(self, metadata: Any) -> bool:
        try:
            return self._tokens.knows(bearer(metadata))
        except Refusal:
            return False


async def _only(requests: Any) -> Any:
    """The one message of a unary call."""
    request = await anext(aiter(requests), None)
    if request is None:
        raise Malformed("the message is missing", hint="send one message")
    return request


async def _pass_on(handler: Any, requests: Any, context: Context) -> None:
    """Call a method of any of the four kinds from one whose messages are streams both ways."""
    method = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    answering = method(requests, context)
    if hasattr(answering, "__aiter__"):
        async for answer in answering:
            await context.write(answer)
        return
    answer = await answering
    if answer is not None and not handler.response_streaming:  # None: refused
        await context.write(answer)
