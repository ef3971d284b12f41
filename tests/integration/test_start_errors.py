"""What does an operator see when it does not start, and a client whose handshake is refused?"""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec.inspect
import pytest
import tomli_w
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.node import PROOF, Node
from sealpress.client import Client, load_client
from sealpress.config import Limits
from sealpress.errors import ConfigError, NotPermitted, SealpressError, TransportError
from sealpress.wiring.certificates import Authority, issue, make_authority, write_authority

CANNOT_START = 4
DIGEST = hashlib.sha256(b"x").digest()


def break_key(node: Node) -> str:
    """A setting that does not exist."""
    node.configure({"limits": {"batch_itmes_max": 3}})
    return "serve"


def break_policy(node: Node) -> str:
    """The same in the policy."""
    policy = node.directory / "policy.toml"
    policy.write_text(policy.read_text() + "[audti]\nidentities = []\n")
    return "serve"


def break_module(node: Node) -> str:
    """A module that is not there."""
    node.configure({"slot": {"soft": {"module": "/nowhere/module.so"}}})
    return "signer"


def break_token(node: Node) -> str:
    """A label that no token has."""
    node.configure({"slot": {"soft": {"label": "not-this-one"}}})
    return "signer"


def break_signer(node: Node) -> str:
    """No signer is running."""
    node.configure({"slot": {"soft": {"deadline_ms": 500}}})
    return "serve"


def break_policy_size(node: Node) -> str:
    """A policy that no batch of such a log holds."""
    node.start("signer")
    node.configure({"journal": {"segment_bytes": 64 << 10}})
    policy = node.directory / "policy.toml"
    policy.write_text(policy.read_text() + "#" * (20 << 10))
    return "serve"


def break_log_key(node: Node) -> str:
    """The log's public key of another log; the signer has the right one."""
    node.start("signer")
    other = Ed25519PrivateKey.generate().public_key()
    body = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (node.directory / "keys" / "other.pem").write_bytes(body)
    node.configure({"log": {"ci": {"public_key": "keys/other.pem"}}})
    return "serve"


CASES: dict[str, tuple[Callable[[Node], str], str, str]] = {
    "unknown setting": (break_key, "CONFIG", "batch_itmes_max"),
    "unknown policy key": (break_policy, "POLICY", "audti"),
    "missing module": (break_module, "MODULE_MISSING", "/nowhere/module.so"),
    "token not found": (break_token, "TOKEN_NOT_FOUND", "not-this-one"),
    "policy larger than a batch": (break_policy_size, "TOO_LARGE", "segment_bytes"),
    "another log key": (break_log_key, "SIGNER_DIFFERS", "[log.ci] public_key"),
    "no signer": (break_signer, "SIGNER_UNREACHABLE", "signer"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_is_wrong_is_said_in_one_line(case: str) -> None:
    """Exit 4, one line on stderr with the reason and the name of what is wrong."""
    make_wrong, reason, named = CASES[case]
    with Node(start=False) as node:
        done = node.run(make_wrong(node))

    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == CANNOT_START, done.stderr
    assert len(said) == 1, done.stderr
    assert reason in said[0]
    assert named in said[0]


def test_a_node_starts_with_the_largest_limits() -> None:
    """What the settings' manual allows is not refused by what they are handed to, as a traceback."""
    fields = cast("msgspec.inspect.StructType", msgspec.inspect.type_info(Limits)).fields
    largest = {field.name: cast("msgspec.inspect.IntType", field.type).le for field in fields}
    with Node(settings={"limits": largest}) as node, node.client() as client:
        client.sign(DIGEST, line=PROOF)


def test_a_wrong_pin_is_tried_once() -> None:
    """Exit 4 each time a supervisor starts it again, but one C_Login in all; a new PIN is tried again."""
    with Node(shim=True, start=False) as node:
        pin = node.directory / "token" / "pin"
        right = pin.read_text()
        pin.write_text("not-the-pin\n")
        for _ in range(6):
            done = node.run("signer")
            assert (done.returncode, "PIN" in done.stderr) == (CANNOT_START, True), done.stderr
            assert "not-the-pin" not in done.stderr + done.stdout
        assert node.shim["C_Login"] == 1
        pin.write_text(right)
        node.start("signer")
        assert node.shim["C_Login"] == 2


def test_a_port_in_use_is_said() -> None:
    """Exit 4, also when the other one would share it."""
    with Node() as node, socket.socket() as other:
        node.stop("serve")
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        node.configure({"listen": [{"address": address, "services": ["signing", "audit"], "auth": "mtls"}]})
        done = node.run("serve")

    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # gRPC has a line of its own
    assert (done.returncode, len(said)) == (CANNOT_START, 1), done.stderr
    assert said[0].startswith(f"sealpress: PORT_IN_USE: cannot listen on {address}")


def test_a_log_directory_in_use_is_said() -> None:
    """A second daemon on the same directory: exit 4; the first goes on."""
    with Node() as node:
        done = node.run("serve")
        with node.client() as client:
            client.sign(DIGEST, line=PROOF)

    assert (done.returncode, "LOG_IN_USE" in done.stderr) == (CANNOT_START, True), done.stderr


def test_journal_and_mark_that_disagree_are_refused() -> None:
    """A journal behind the mark, and a mark behind the journal's sealed heads: exit 3 with the next step."""
    with Node() as node:
        with node.client() as client:
            client.sign(DIGEST, line=PROOF)
        node.stop("serve")
        node.stop("signer")
        old_data, old_marks = node.place / "data", node.place / "marks"
        shutil.copytree(node.directory / "data", old_data)
        shutil.copytree(node.directory / "signer", old_marks)
        node.start("signer")
        node.start("serve")
        with node.client() as client:
            client.sign(hashlib.sha256(b"y").digest(), line=PROOF)
        node.stop("serve")

        newer = node.place / "newer"
        shutil.move(node.directory / "data", newer)
        shutil.copytree(old_data, node.directory / "data")  # an older journal under the newer mark
        behind = node.run("serve")
        shutil.rmtree(node.directory / "data")
        shutil.move(newer, node.directory / "data")
        node.stop("signer")
        shutil.rmtree(node.directory / "signer")
        shutil.copytree(old_marks, node.directory / "signer")  # an older mark under the newer journal
        node.start("signer")
        ahead = node.run("serve")

    for done in (behind, ahead):
        said = [line for line in done.stderr.splitlines() if line.startswith("sealpress: ")]
        assert done.returncode == 3, done.stderr
        assert len(said) == 1, done.stderr
        assert "mark" in said[0]
        assert "(" in said[0]  # the hint: what to do next


# ---- TLS ----


@pytest.fixture(scope="module")
def stranger_ca() -> Authority:
    """A CA that the server does not know."""
    return make_authority(datetime.now(UTC), "another CA")


@pytest.fixture
def identity(node: Node, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes a client.toml with a certificate of our choice, from the node's CA unless told otherwise."""
    ca = make_authority(datetime.now(UTC), "the node's other CA")

    def make(authority: Authority | None = None, *, named: bool = True, **how: object) -> Path:
        issue(authority or ca, tmp_path, "cert", now=datetime.now(UTC), **how)  # type: ignore[arg-type]
        document = {"signing": node.ready["signing"], "ca": str(node.directory / "tls" / "ca.pem"), "line": PROOF}
        if named:
            document |= {"cert": "cert.pem", "key": "cert.key"}
        (tmp_path / "client.toml").write_text(tomli_w.dumps(document))
        return tmp_path / "client.toml"

    bundle = node.directory / "tls" / "ca.pem"
    before = bundle.read_bytes()
    write_authority(ca, tmp_path / "added.pem")
    bundle.write_bytes(before + (tmp_path / "added.pem").read_bytes())
    yield make
    bundle.write_bytes(before)


def refused(path: Path) -> SealpressError:
    """What the client says when it tries to sign."""
    with pytest.raises(SealpressError) as caught, Client(load_client(path), timeout_s=10) as client:
        client.sign(DIGEST)
    return caught.value


def handshakes(node: Node) -> float:
    """Begun, less those that came to a call."""
    metrics = node.metrics()
    return metrics["sealpress_tls_handshakes_started_total"] - metrics["sealpress_tls_connections_total"]


def test_no_certificate(identity: Callable[..., Path]) -> None:
    """Said by the client itself, before it connects."""
    error = refused(identity(named=False))

    assert (type(error), error.reason) == (ConfigError, "NO_CERTIFICATE")
    assert error.hint


def test_expired(identity: Callable[..., Path]) -> None:
    """Said by the client itself."""
    assert refused(identity(lifetime=timedelta(seconds=-1))).reason == "CERTIFICATE_EXPIRED"


def test_wrong_use(identity: Callable[..., Path]) -> None:
    """A server's certificate is none for a client; said by the client itself."""
    assert refused(identity(server=True)).reason == "CERTIFICATE_USAGE"


def test_another_ca(node: Node, identity: Callable[..., Path], stranger_ca: Authority) -> None:
    """The server closes without a reason: the client names three things to check and does not retry; it is counted."""
    before = handshakes(node)
    error = refused(identity(stranger_ca, uris=("spiffe://dev.localhost/ci/builder",)))

    assert (type(error), error.reason) == (TransportError, "HANDSHAKE_REFUSED")
    for number in ("(1)", "(2)", "(3)"):
        assert number in error.hint
    assert 1 <= handshakes(node) - before <= 2  # gRPC itself may try the address once more; we do not


def test_a_certificate_with_two_uris_names_nobody(node: Node, identity: Callable[..., Path]) -> None:
    """IDENTITY_AMBIGUOUS, though one of the names has the right; and with none the key's hash is the name."""
    path = identity(uris=("spiffe://dev.localhost/ci/builder", "spiffe://dev.localhost/ci/other"))
    node.stop("serve")
    node.start("serve")  # on other ports, with both CAs
    path.write_text(path.read_text().replace(load_client(path).signing, node.ready["signing"]))
    error = refused(path)

    assert (type(error), error.reason) == (NotPermitted, "IDENTITY_AMBIGUOUS")
