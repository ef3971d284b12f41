"""Can a CI job sign with its token and nothing else, and does nobody without one get past the door?"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tomli_w
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from kit.issuer import AUDIENCE, URLS, Issuer
from kit.node import PROOF, Node
from sealpress.client import Client, StreamItem, load_client
from sealpress.errors import ConfigError, NotPermitted, TransportError
from sealpress.v1 import signing_pb2, signing_pb2_grpc, types_pb2
from sealpress.values import DigestAlgorithm
from sealpress.verify.proof import verify_proof

REPOSITORY = "74"


class TokenNode:
    """A node with a listener of each kind, an issuer, and a rule for one repository's tags."""

    def __init__(self) -> None:
        """Running."""
        self.node = Node(start=False)
        self.issuer = Issuer("github", algorithm="ES256")
        self.jwks = self.issuer.write(self.node.directory / "github.jwks")
        self.node.configure(
            {
                "listen": [
                    {"address": "127.0.0.1:0", "services": ["signing", "audit"], "auth": "mtls"},
                    {"address": "127.0.0.1:0", "services": ["signing"], "auth": "token"},
                    {"address": "127.0.0.1:0", "services": ["http"], "auth": "none"},
                ],
                "token": {"audience": AUDIENCE},
                "issuer": {"github": {"url": URLS["github"], "kind": "github", "jwks_file": str(self.jwks)}},
            }
        )
        self._write_policy()
        self.node.start("signer")
        self.node.start("serve")
        self.token_file = self.node.directory / "job.token"
        self.address: str = self.node.ready["signing_token"]
        self.client_file = self.node.directory / "job.toml"
        document = {"signing": self.address, "ca": "tls/ca.pem", "token": self.token_file.name, "line": PROOF}
        self.client_file.write_text(tomli_w.dumps(document))

    def _write_policy(self) -> None:
        path = self.node.directory / "policy.toml"
        policy = tomllib.loads(path.read_text())
        policy["line"][PROOF]["rule"]["gha"] = {
            "action": "sign",
            "issuer": URLS["github"],
            "audience": AUDIENCE,
            "claims": {
                "repository_id": {"eq": REPOSITORY},
                "repository_owner_id": {"eq": "65"},
                "ref": {"prefix": "refs/tags/v"},
            },
        }
        path.write_text(tomli_w.dumps(policy))

    def client(self, token: str | None = None, **claims: Any) -> Client:
        """A job's client, with its token in the file."""
        self.token_file.write_text((self.issuer.token(**claims) if token is None else token) + "\n")
        return Client(load_client(self.client_file), attempts_max=3)

    def channel(self) -> grpc.Channel:
        """Bare TLS without a client certificate."""
        roots = (self.node.directory / "tls" / "ca.pem").read_bytes()
        options = (("grpc.max_send_message_length", -1),)
        return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(roots), options=options)


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenNode]:
    """One node for all of these."""
    made = TokenNode()
    with made.node:
        yield made


def reason_of(error: grpc.RpcError) -> str:
    """The ErrorInfo reason of a bare gRPC error."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    status.details[0].Unpack(info)
    return info.reason


def test_a_job_signs_with_its_token(tokens: TokenNode) -> None:
    """Unary, batch, stream and content; the proof verifies; the log says which subject asked."""
    with tokens.client() as client, tokens.node.client() as auditor:
        signed = client.sign(bytes(32))
        verify_proof(tokens.node.trust(), DigestAlgorithm.SHA256, bytes(32), signed.proof)
        assert client.sign_batch(bytes(64)).count == 2
        assert all(answer.signed for answer in client.sign_stream([StreamItem(bytes([n]) * 32) for n in range(5)]))
        assert client.sign_content([b"hello"]).proof
        lines = client.keys()
        assert [info.line for info in lines] == [PROOF]
        (event,) = auditor.explain(event_id=signed.event_id)[:1]

    assert f"oidc:{URLS['github']}#repo:acme/router:environment:release" in str(event)


@pytest.mark.parametrize(
    "claims",
    [{"repository_id": "75"}, {"repository_owner_id": "66"}, {"ref": "refs/heads/main"}, {"ref": "refs/tags/x"}],
)
def test_other_jobs_do_not(tokens: TokenNode, claims: dict[str, str]) -> None:
    """A genuine token that no rule fits is NOT_PERMITTED, with the id of its record; it lists no keys."""
    with tokens.client(**claims) as client:
        with pytest.raises(NotPermitted) as caught:
            client.sign(bytes(32))
        assert (caught.value.reason, bool(caught.value.event_id)) == ("NOT_PERMITTED", True)
        assert client.keys() == []


def test_wrong_tokens_are_told_so(tokens: TokenNode) -> None:
    """Each with its reason and with what to do."""
    stranger = Issuer("github", algorithm="ES256")
    now_s = int(time.time())
    for token, reason in [
        (stranger.token(header={"kid": tokens.issuer.kid}), "TOKEN_INVALID"),
        (tokens.issuer.token(aud="https://other.example"), "TOKEN_AUDIENCE"),
        (tokens.issuer.token(iss="https://other.example"), "ISSUER_UNKNOWN"),
        (tokens.issuer.token(exp=now_s + 3_600), "TOKEN_LIFETIME"),
        (tokens.issuer.token(iat=now_s + 600, exp=now_s + 700), "TOKEN_EXPIRED"),
        (tokens.issuer.token(repository_id=None), "CLAIMS_INCOMPLETE"),
    ]:
        with tokens.client(token) as client, pytest.raises(NotPermitted) as caught:
            client.sign(bytes(32))
        assert (caught.value.reason, bool(caught.value.hint)) == (reason, True)


def test_a_replayed_jti_is_recorded(tokens: TokenNode) -> None:
    """A second token with the same jti signs nothing, and the log keeps that somebody tried."""
    with tokens.client(jti="twice") as client:
        assert client.sign(bytes(32)).proof
    with tokens.client(jti="twice", run_id="2") as client, pytest.raises(NotPermitted) as caught:
        client.sign(bytes(32))

    assert (caught.value.reason, bool(caught.value.event_id)) == ("TOKEN_REPLAYED", True)


def test_nothing_is_answered_without_a_token(tokens: TokenNode) -> None:
    """Not a signature, not a key list, not health, not reflection; each says TOKEN_MISSING."""
    with tokens.channel() as channel:
        signing: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
        health: Any = health_pb2_grpc.HealthStub(channel)
        mirror: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        calls = [
            lambda: signing.Sign(signing_pb2.SignRequest(), timeout=10),
            lambda: signing.ListKeys(signing_pb2.ListKeysRequest(), timeout=10),
            lambda: list(signing.SignStream(iter([signing_pb2.SignRequest()]), timeout=10)),
            lambda: signing.SignContent(iter([signing_pb2.SignContentRequest()]), timeout=10),
            lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=10),
            lambda: list(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)),
            lambda: list(mirror.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest()]), timeout=10)),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert reason_of(caught.value) == "TOKEN_MISSING"


def test_health_and_reflection_answer_with_a_token(tokens: TokenNode) -> None:
    """The first call with a token goes through the gate, whatever its kind; later ones around it."""
    for _ in range(2):
        metadata = (("authorization", f"Bearer {tokens.issuer.token()}"),)
        with tokens.channel() as channel:
            mirror: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
            assert list(mirror.ServerReflectionInfo(iter(asked), metadata=metadata, timeout=10))
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_every_kind_of_call_passes_the_gate(tokens: TokenNode) -> None:
    """One message or many, in or out: the first call with a token gets the answers of later ones, and its deadline."""
    digest = types_pb2.Digest(algorithm=types_pb2.DIGEST_ALGORITHM_SHA256, value=bytes(32))
    asks = [signing_pb2.SignRequest(request_id=f"gate-{number}", key=PROOF, digest=digest) for number in range(3)]
    header = signing_pb2.SignRequest(request_id="gate-content", key=PROOF, digest=types_pb2.Digest(algorithm=1))
    parts = [signing_pb2.SignContentRequest(header=header), signing_pb2.SignContentRequest(chunk=b"x")]
    with tokens.channel() as channel:
        signing: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]

        def fresh() -> dict[str, Any]:
            return {"metadata": (("authorization", f"Bearer {tokens.issuer.token()}"),), "timeout": 20}

        assert len(list(signing.SignStream(iter(asks), **fresh()))) == 3
        assert signing.SignContent(iter(parts), **fresh()).request_id == "gate-content"
        assert signing.Sign(asks[0], **fresh()).request_id == "gate-0"

        hung_up = threading.Event()

        def unfinished() -> Iterator[signing_pb2.SignRequest]:
            yield from asks
            hung_up.wait(20)

        with pytest.raises(grpc.RpcError) as caught:  # however quick the answers: the caller never ends its stream
            list(signing.SignStream(unfinished(), metadata=fresh()["metadata"], timeout=0.3))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        hung_up.set()


def test_a_message_is_not_read_before_its_token(tokens: TokenNode) -> None:
    """Sixty megabytes without a token are refused with its reason, and the daemon's memory does not grow by them."""
    serve = tokens.node.children["serve"].process.pid
    before = _resident_kb(serve)
    big = signing_pb2.SignBatchRequest(request_id="x", digests=bytes(60 << 20))
    with tokens.channel() as channel:
        signing: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
        for _ in range(4):
            with pytest.raises(grpc.RpcError) as caught:
                signing.SignBatch(big, timeout=30)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    assert _peak_kb(serve) - before < 60 << 10  # not even one of the four; what fits into the windows was on its way


def _field_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _resident_kb(pid: int) -> int:
    return _field_kb(pid, "VmRSS")


def _peak_kb(pid: int) -> int:
    return _field_kb(pid, "VmHWM")


def test_tokens_do_not_open_the_other_listener(tokens: TokenNode) -> None:
    """Where certificates are asked for, a token lets nobody in: TLS refuses before a call is read."""
    tokens.client().close()
    document = tomllib.loads(tokens.client_file.read_text()) | {"signing": tokens.node.ready["signing"]}
    path = tokens.node.directory / "wrong.toml"
    path.write_text(tomli_w.dumps(document))

    with Client(load_client(path), attempts_max=1) as client, pytest.raises(TransportError) as caught:
        client.sign(bytes(32))
    assert caught.value.reason == "HANDSHAKE_REFUSED"


def test_the_command_line_signs_with_a_token(tokens: TokenNode, tmp_path: Path) -> None:
    """`sealpress sign` with `token` in client.toml, and a file read again when the CI renews it."""
    target = tmp_path / "image.bin"
    target.write_bytes(b"image")
    arguments = [sys.executable, "-m", "sealpress", "sign", "--client", str(tokens.client_file), "--json", str(target)]
    with tokens.client() as client:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["files"][0]["written"] == f"{target}.tlog-proof"

        tokens.token_file.write_text(tokens.issuer.token(ref="refs/heads/main"))
        with pytest.raises(NotPermitted):
            client.sign(bytes(32))
        tokens.token_file.write_text(tokens.issuer.token())
        assert client.sign(bytes(32)).proof


def test_the_client_says_what_is_wrong_with_its_token(tokens: TokenNode) -> None:
    """Expired, missing or no token at all: said without sending anything."""
    now_s = int(time.time())
    before = tokens.node.metrics()
    for content, reason in [
        (tokens.issuer.token(iat=now_s - 400, exp=now_s - 10), "TOKEN_EXPIRED"),
        ("", "TOKEN_FILE"),
        ("not a token", "TOKEN_FILE"),
        ("two\nlines.of.it", "TOKEN_FILE"),
    ]:
        with tokens.client(content) as client, pytest.raises((ConfigError, TransportError)) as caught:
            client.sign(bytes(32))
        assert (caught.value.reason, bool(caught.value.hint)) == (reason, True)
    with tokens.client() as client, pytest.raises(ConfigError) as caught:
        tokens.token_file.unlink()
        client.sign(bytes(32))
    assert caught.value.reason == "TOKEN_FILE"

    counted = {name: value for name, value in tokens.node.metrics().items() if name.startswith("sealpress_errors_t")}
    assert counted == {name: before[name] for name in counted}


def test_a_new_key_of_the_issuer_is_taken_up(tokens: TokenNode) -> None:
    """Tokens signed with a key that the file did not have wait for it, and then sign."""
    tokens.issuer.rotate()
    tokens.issuer.write(tokens.jwks)

    with Client(load_client(tokens.client_file), attempts_max=12) as client:
        tokens.token_file.write_text(tokens.issuer.token())
        assert client.sign(bytes(32)).proof


def test_a_flood_of_wrong_tokens_does_not_stop_the_good(tokens: TokenNode) -> None:
    """After hundreds of forged tokens from this host a known token signs at once."""
    stranger = Issuer("github", algorithm="ES256")
    with tokens.client() as client:
        assert client.sign(bytes(32)).proof
        with tokens.channel() as channel:
            signing: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
            reasons = []
            for _ in range(200):
                forged = stranger.token(header={"kid": tokens.issuer.kid})
                with pytest.raises(grpc.RpcError) as caught:
                    signing.Sign(
                        signing_pb2.SignRequest(), metadata=(("authorization", f"Bearer {forged}"),), timeout=10
                    )
                reasons.append(reason_of(caught.value))
        assert set(reasons) == {"TOKEN_INVALID", "TOKEN_CHECKS"}
        assert client.sign(bytes(32)).proof


# ---- settings ----


def _refused_settings() -> list[tuple[str, dict[str, Any]]]:
    listen = [{"address": "127.0.0.1:0", "services": ["signing"], "auth": "token"}]
    github = {"url": URLS["github"], "kind": "github", "jwks_uri": "https://ci.example/jwks"}
    good: dict[str, Any] = {"listen": listen, "token": {"audience": AUDIENCE}, "issuer": {"github": github}}
    return [
        ("needs [token]", {"listen": listen}),
        ("needs [token]", {**good, "issuer": {}}),
        ("jwks_uri or jwks_file", {**good, "issuer": {"github": {**github, "jwks_file": "x"}}}),
        ("jwks_uri or jwks_file", {**good, "issuer": {"github": {"url": URLS["github"], "kind": "github"}}}),
        ("plain https", {**good, "issuer": {"github": {**github, "jwks_uri": "http://ci.example/jwks"}}}),
        ("two issuers", {**good, "issuer": {"a": github, "b": github}}),
        ("lifetime_s_max", {**good, "token": {"audience": AUDIENCE, "lifetime_s_max": 901}}),
        ("skew_s", {**good, "token": {"audience": AUDIENCE, "skew_s": 61}}),
        ("does not go with", {**good, "listen": [{**listen[0], "services": ["http"]}]}),
    ]


@pytest.mark.parametrize(("said", "settings"), _refused_settings())
def test_wrong_settings_are_refused_at_the_start(said: str, settings: dict[str, Any]) -> None:
    """Exit 4 with the place and what is wrong with it."""
    with Node(start=False, settings=settings) as node:
        done = node.run("serve")

    assert done.returncode == 4
    assert said in done.stderr


def test_a_missing_key_file_is_refused_at_the_start() -> None:
    """CannotStart JWKS_FILE."""
    settings = {
        "listen": [{"address": "127.0.0.1:0", "services": ["signing"], "auth": "token"}],
        "token": {"audience": AUDIENCE},
        "issuer": {"github": {"url": URLS["github"], "kind": "github", "jwks_file": "absent.json"}},
    }
    with Node(start=False, settings=settings) as node:
        done = node.run("serve")

    assert done.returncode == 4
    assert "absent.json" in done.stderr


def test_an_error_is_one_of_ours(tokens: TokenNode) -> None:
    """Whatever stands in the metadata, the answer is a status with a reason, never a bare gRPC error."""
    with tokens.channel() as channel:
        signing: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
        for value in ("", "Bearer", "Bearer ", "Basic x", "Bearer " + "x" * 15_000, "Bearer a.b.c"):
            with pytest.raises(grpc.RpcError) as caught:
                signing.Sign(signing_pb2.SignRequest(), metadata=(("authorization", value),), timeout=10)
            assert reason_of(caught.value) == "TOKEN_INVALID"
