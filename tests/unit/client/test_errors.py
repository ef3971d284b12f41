"""Do gRPC's statuses become the error that says what to do next?"""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from sealpress.client.errors import from_details, from_rpc, retry_wait_ms
from sealpress.errors import Internal, Malformed, TransportError, Unavailable


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


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
@pytest.mark.parametrize("details", ["Cancelling all calls", "Stream removed (recvmsg:Connection reset by peer (104))"])
def test_a_call_that_ends_with_the_daemon_is_one_to_ask_again(
    code: grpc.StatusCode, details: str, connected: bool
) -> None:
    """Also the first one of a connection: no handshake is blamed for what only a whole connection can bring."""
    found = from_rpc(broken(code, details), connected=connected)

    assert (type(found), found.reason) == (TransportError, "CONNECTION_LOST")
    assert retry_wait_ms(found, 0) is not None


def test_any_other_internal_error_is_final() -> None:
    """INTERNAL in other words is a bug of the other side, and nobody asks again by himself."""
    found = from_rpc(broken(grpc.StatusCode.INTERNAL, "Exception deserializing request!"), connected=True)

    assert isinstance(found, Internal)
    assert retry_wait_ms(found, 0) is None


@pytest.mark.parametrize(
    "details",
    [
        "SERVER: Received message larger than max (32043 vs. 4000)",
        "CLIENT: Sent message larger than max (67108900 vs. 67108864)",
        "Stream removed (CLIENT: Received message larger than max (5028 vs. 4000))",
        "Stream removed (received metadata size exceeds hard limit (value length 100000 vs. 16384))",
    ],
)
def test_what_is_too_large_is_not_sent_again(details: str) -> None:
    """No queue is full that will be emptier later: TOO_LARGE, at once, and what to do about it."""
    found = from_rpc(broken(grpc.StatusCode.RESOURCE_EXHAUSTED, details), connected=True)

    assert (type(found), found.reason) == (Malformed, "TOO_LARGE")
    assert retry_wait_ms(found, 0) is None


def test_a_daemon_that_has_too_many_calls_is_asked_again() -> None:
    """The last guard of the listener, which passes."""
    found = from_rpc(broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"), connected=True)

    assert retry_wait_ms(found, 0) is not None


GARBAGE = any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")


@pytest.mark.parametrize(
    "details", [b"\xff", status_pb2.Status(code=3, message="no", details=[GARBAGE]).SerializeToString()]
)
def test_details_that_cannot_be_read_are_left_aside(details: bytes) -> None:
    """Whoever answers may send anything there: the status alone says what to do then."""
    trailing = Metadata(("grpc-status-details-bin", details))
    found = from_rpc(AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, Metadata(), trailing, "no"), connected=True)

    assert (type(found), found.message) == (Malformed, "no")


def test_no_delay_is_below_zero() -> None:
    """Nobody can wait so long: asked again at once."""
    status = status_pb2.Status()
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="STREAM_ENDED", domain="sealpress"))
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=-5)))
    found = from_details(grpc.StatusCode.UNAVAILABLE, "", status.details)

    assert isinstance(found, Unavailable)
    assert found.retry_after_ms == 0


LAST = "failed to connect to all addresses; last error: "


@pytest.mark.parametrize(
    "details",
    [
        "errors resolving nowhere:443: [field:hostname lookup error:address lookup failed for nowhere:443: not found]",
        "DNS resolution failed for nowhere:443: C-ares status is not ARES_SUCCESS",
        f"{LAST}UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused",
        f"{LAST}UNKNOWN: ipv6:%5B::2%5D:1: Failed to connect to remote host: getsockopt(SO_ERROR): No route to host",
        f"{LAST}FAILED_PRECONDITION: ipv4:1.1.1.1:1: connect failed: addr: 1.1.1.1:1 error: Network is unreachable",
    ],
)
def test_where_nobody_listens_no_handshake_is_blamed(details: str) -> None:
    """A name without an address, a way that does not exist: UNREACHABLE, and nothing about certificates."""
    found = from_rpc(broken(grpc.StatusCode.UNAVAILABLE, details), connected=False)

    assert (found.reason, details in found.message) == ("UNREACHABLE", True)


@pytest.mark.parametrize(
    "details",
    [
        f"{LAST}UNAVAILABLE: ipv4:127.0.0.1:443: Socket closed",
        f"{LAST}UNKNOWN: ipv4:127.0.0.1:443: Tls handshake failed (TSI_PROTOCOL_FAILURE): CERTIFICATE_VERIFY_FAILED",
    ],
)
def test_a_refused_handshake_is_told_apart(details: str) -> None:
    """Who was reached and let nobody in: HANDSHAKE_REFUSED, with what to check."""
    found = from_rpc(broken(grpc.StatusCode.UNAVAILABLE, details), connected=False)

    assert found.reason == "HANDSHAKE_REFUSED"


def test_what_a_listener_does_not_offer_is_no_bug() -> None:
    """A grant of an ungoverned node, or the wrong one of two addresses: said so, with where to look."""
    found = from_rpc(broken(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"), connected=True)

    assert (found.reason, bool(found.hint)) == ("NOT_OFFERED", True)
    assert retry_wait_ms(found, 0) is None
