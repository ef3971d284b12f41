"""What does somebody hear who asks wrongly, or for what he may not have? And what stays of it?"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kit.node import PROOF, Node
from sealpress.client import load_client
from sealpress.client.tls import credentials
from sealpress.tlog.entry import RefusalEvent
from sealpress.tlog.reader import committed
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc, types_pb2

DIGEST = hashlib.sha256(b"x").digest()
SHA256 = types_pb2.DIGEST_ALGORITHM_SHA256
LIMIT = 100_000


class Raw:
    """The bare stub: our client would not let most of these out."""

    def __init__(self, node: Node, name: str = "client") -> None:
        """A channel of its own."""
        config = load_client(node.directory / f"{name}.toml")
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.channel = grpc.secure_channel(config.signing, credentials(config), options=options)
        self.stub: Any = signing_pb2_grpc.SigningServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def refusal(self, call: Callable[[Any], Any]) -> tuple[grpc.StatusCode, str, dict[str, str], str]:
        """Code, reason, metadata and message of the error that the call ends with."""
        with pytest.raises(grpc.RpcError) as caught:
            call(self.stub)
        status = rpc_status.from_call(caught.value)
        assert status is not None, caught.value
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.domain == "sealpress"
        return caught.value.code(), info.reason, dict(info.metadata), status.message


@pytest.fixture(scope="module")
def raw(node: Node) -> Iterator[Raw]:
    """The builder's stub."""
    found = Raw(node)
    yield found
    found.channel.close()


def sha256(value: bytes) -> types_pb2.Digest:
    """A Digest."""
    return types_pb2.Digest(algorithm=SHA256, value=value)


def ask(**changes: Any) -> pb.SignRequest:
    """A good request but for the changes."""
    fields: dict[str, Any] = {
        "request_id": "r",
        "key": PROOF,
        "digest": types_pb2.Digest(algorithm=SHA256, value=DIGEST),
    }
    return pb.SignRequest(**(fields | changes))


def batch(**changes: Any) -> pb.SignBatchRequest:
    """A good batch but for the changes."""
    fields: dict[str, Any] = {"request_id": "r", "key": PROOF, "algorithm": SHA256, "digests": DIGEST * 2}
    return pb.SignBatchRequest(**(fields | changes))


def content(*parts: Any) -> Callable[[Any], Any]:
    """SignContent with these parts."""
    messages = [pb.SignContentRequest(**part) for part in parts]
    return lambda stub: stub.SignContent(iter(messages))


HEADER = {"header": pb.SignRequest(request_id="c", key=PROOF, digest=sha256(b""))}
EXPECTING = {
    "header": pb.SignRequest(request_id="c", key=PROOF, digest=types_pb2.Digest(algorithm=SHA256, value=DIGEST))
}
MALFORMED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "short digest": (
        "DIGEST_LENGTH",
        lambda s: s.Sign(ask(digest=sha256(DIGEST[:31]))),
    ),
    "no digest": ("BAD_REQUEST", lambda s: s.Sign(ask(digest=None))),
    "no algorithm": ("BAD_REQUEST", lambda s: s.Sign(ask(digest=types_pb2.Digest(value=DIGEST)))),
    "unknown algorithm": ("BAD_REQUEST", lambda s: s.SignBatch(batch(algorithm=9))),
    "not a multiple": ("DIGEST_LENGTH", lambda s: s.SignBatch(batch(digests=DIGEST + b"x"))),
    "empty batch": ("DIGEST_LENGTH", lambda s: s.SignBatch(batch(digests=b""))),
    "too many digests": ("TOO_LARGE", lambda s: s.SignBatch(batch(digests=DIGEST * (LIMIT + 1)))),
    "too many to expand": ("TOO_LARGE", lambda s: s.SignBatch(batch(digests=DIGEST * 10_001, expand=True))),
    "5 MiB name": ("TOO_LARGE", lambda s: s.Sign(ask(artifact=types_pb2.Artifact(name="n" * (5 << 20))))),
    "5 MiB name in a batch": ("TOO_LARGE", lambda s: s.SignBatch(batch(names=["n" * (5 << 20), ""]))),
    "5 MiB key": ("TOO_LARGE", lambda s: s.Sign(ask(key="k" * (5 << 20)))),
    "one name for two": ("BAD_REQUEST", lambda s: s.SignBatch(batch(names=["one"]))),
    "no request id": ("BAD_REQUEST", lambda s: s.Sign(ask(request_id=""))),
    "bad request id": ("BAD_REQUEST", lambda s: s.Sign(ask(request_id="a b"))),
    "long request id": ("BAD_REQUEST", lambda s: s.Sign(ask(request_id="a" * 65))),
    "no line": ("BAD_REQUEST", lambda s: s.Sign(ask(key=""))),
    "four components": ("BAD_REQUEST", lambda s: s.Sign(ask(key="a/b/c/d"))),
    "capitals": ("BAD_REQUEST", lambda s: s.Sign(ask(key="A/b/c/d/e"))),
    "content without header": ("BAD_REQUEST", content({"chunk": b"x"})),
    "two headers": ("BAD_REQUEST", content(HEADER, HEADER)),
    "chunk too large": ("TOO_LARGE", content(HEADER, {"chunk": bytes((1 << 20) + 1)})),
    "other content than expected": ("DIGEST_MISMATCH", content(EXPECTING, {"chunk": b"y"})),
}


@pytest.mark.parametrize("case", list(MALFORMED))
def test_malformed_is_told_and_counted_not_recorded(node: Node, raw: Raw, case: str) -> None:
    """INVALID_ARGUMENT with a stable reason and what to do; the log does not grow; a counter does."""
    reason, call = MALFORMED[case]
    before = node.metrics()
    with node.client() as client:
        size = client.get_status().logs[0].tree_size
        code, found, metadata, message = raw.refusal(call)
        assert client.get_status().logs[0].tree_size == size

    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason), message
    assert message
    assert len(message) < 600
    assert metadata.get("hint"), message
    name = f'sealpress_errors_total{{reason="{reason}"}}'
    assert node.metrics()[name] == before.get(name, 0) + 1


def test_too_many_to_expand_are_to_be_had_without_our_client(raw: Raw) -> None:
    """Whoever cannot expand a compact answer himself hears another way."""
    _, call = MALFORMED["too many to expand"]

    assert "several requests" in raw.refusal(call)[2]["hint"]


@pytest.mark.parametrize(
    "changes", [{"request_id": "a b"}, {"key": "a/b/c/d"}, {"grant_id": "g" * 2_000}, {"digest": sha256(b"x")}]
)
def test_a_wrong_header_is_refused_before_its_content(raw: Raw, changes: dict[str, Any]) -> None:
    """Whatever is wrong with it: nobody uploads gigabytes to hear that."""
    end = threading.Event()

    def parts() -> Iterator[pb.SignContentRequest]:
        yield pb.SignContentRequest(header=ask(**({"digest": sha256(b"")} | changes)))
        end.wait(60)

    code, *_ = raw.refusal(lambda stub: stub.SignContent(parts(), timeout=5))
    end.set()

    assert code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["SignStream", "SignContent"])
def test_bytes_that_are_no_message_are_malformed(node: Node, raw: Raw, method: str) -> None:
    """On a stream, too, where the method reads them: its caller is wrong, and nobody has a bug to look for."""
    call = raw.channel.stream_stream(f"/sealpress.v1.SigningService/{method}")
    code, reason, metadata, _ = raw.refusal(lambda _: list(call(iter([b"\xff"]))))

    assert (code, reason, bool(metadata["hint"])) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST", True)
    assert '"event": "internal"' not in node.words


def test_unknown_line_and_line_without_right_are_one_answer() -> None:
    """PERMISSION_DENIED / NOT_PERMITTED, letter by letter the same but for the event id; one durable record each."""
    with Node() as node:
        raw = Raw(node, "stranger")
        known = raw.refusal(lambda stub: stub.Sign(ask()))
        unknown = raw.refusal(lambda stub: stub.Sign(ask(key="no/such/line/at/all")))
        raw.channel.close()
        ids = [known[2].pop("event_id"), unknown[2].pop("event_id")]
        assert known == unknown
        assert known[:2] == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")
        node.kill("serve")  # what was answered is durable
        refusals = [record.event for record in committed(node.log_directory) if isinstance(record.event, RefusalEvent)]
    assert [event.line for event in refusals] == [PROOF, "no/such/line/at/all"]
    assert [event.reason for event in refusals] == ["NOT_PERMITTED"] * 2
    assert refusals[0].digest == DIGEST
    assert len(set(ids)) == 2


def test_a_flood_of_refusals_is_summed_up() -> None:
    """The first 20 a minute have a record each; the later share one, whose id they are told, with their count."""
    with Node() as node:
        raw = Raw(node, "stranger")
        ids = [raw.refusal(lambda stub: stub.Sign(ask()))[2]["event_id"] for _ in range(50)]
        raw.channel.close()
        assert node.stop("serve") == 0  # the summary of the running minute is written at the latest now
        refusals = [record.event for record in committed(node.log_directory) if isinstance(record.event, RefusalEvent)]
    assert len(set(ids)) == 21
    assert [event.suppressed for event in refusals] == [0] * 20 + [30]
