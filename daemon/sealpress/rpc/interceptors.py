"""What stands around every call: who calls, and what he is told when it fails.

Wrapped around the methods when the class is made, not a grpc interceptor: those cost more per call than the signing of
a single digest does.

Guarantees: a call ends with its answer or with a status of rpc/status.py; a foreign exception is logged and told as
INTERNAL. Does not: judge (flow does).
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc

from sealpress.errors import Damaged, Refusal
from sealpress.ports import Clock
from sealpress.rpc import status
from sealpress.rpc.identity import Identities
from sealpress.steps._state import Caller
from sealpress.telemetry import Telemetry

CONNECTIONS_SEEN_MAX = 16_384

Context: TypeAlias = Any  # grpc.aio.ServicerContext; grpc has no types
Method = Callable[[Any, Any, Context], Awaitable[Any]]
M = TypeVar("M", bound=Method)


class Callers:
    """Finds the caller of a call, and counts connections by the first call on each."""

    def __init__(self, clock: Clock, telemetry: Telemetry) -> None:
        """Shared by all services of the daemon."""
        self._identities = Identities(clock)
        self._telemetry = telemetry
        self._seen: OrderedDict[str, None] = OrderedDict()

    def caller(self, context: Context) -> Caller:
        """Who calls; the address is only recorded."""
        source = context.peer()
        if source not in self._seen:
            self._telemetry.connection_seen()
            self._seen[source] = None
            if len(self._seen) > CONNECTIONS_SEEN_MAX:
                self._seen.popitem(last=False)
        return self._identities.caller(context.auth_context(), source, context.time_remaining())


class Guarded(Protocol):
    """A service whose methods are guarded."""

    telemetry: Telemetry


def guarded(method: M) -> M:
    """Turn every exception of a method into a status."""
    name = method.__name__

    @functools.wraps(method)
    async def call(self: Guarded, request: Any, context: Context) -> Any:
        try:
            return await method(self, request, context)
        except Refusal as error:
            refusal = error
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            if not isinstance(error, Damaged):
                self.telemetry.internal(name, error)
            refusal = status.to_refusal(error)
        self.telemetry.errored(refusal.reason)
        rich = status.to_status(refusal)
        details = ((status.DETAILS_KEY, rich.SerializeToString()),)
        return await context.abort(status.code_of(refusal), rich.message, details)

    return call  # type: ignore[return-value]
