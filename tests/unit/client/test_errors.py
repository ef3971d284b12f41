"""Do gRPC's statuses become the error that says what to do next?"""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from sealpress.client.errors import from_rpc, retry_wait_ms
from sealpress.errors import Internal, TransportError


def broken(code: grpc.StatusCode, details: str) -> AioRpcError:
    """A status without details of ours: gRPC itself made it."""
    return AioRpcError(code, Metadata(), Metadata(), details)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_a_connection_that_breaks_is_a_reason_to_ask_again(code: grpc.StatusCode) -> None:
    """Whether it breaks under a read or under a stream's write: CONNECTION_LOST, and the same request id may follow."""
    found = from_rpc(broken(code, "Internal error from Core"), connected=True)

    assert isinstance(found, TransportError)
    assert found.reason == "CONNECTION_LOST"
    assert retry_wait_ms(found, 0) is not None


def test_any_other_internal_error_is_final() -> None:
    """INTERNAL in other words is a bug of the other side, and nobody asks again by himself."""
    found = from_rpc(broken(grpc.StatusCode.INTERNAL, "Exception deserializing request!"), connected=True)

    assert isinstance(found, Internal)
    assert retry_wait_ms(found, 0) is None
