"""Are files that nobody could connect with named before anything is sent?"""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from sealpress.client.aio import AsyncClient
from sealpress.client.config import ClientConfig
from sealpress.client.tls import credentials
from sealpress.client.token import TokenFile
from sealpress.errors import ConfigError
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc
from sealpress.wiring.certificates import issue, make_authority, write_authority


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a CA and a client's certificate of it."""
    authority, now = make_authority(datetime.now(UTC)), datetime.now(UTC)
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "client", now=now, uris=("spiffe://a/b",))
    issue(authority, tmp_path, "server", now=now, hosts=("127.0.0.1",), server=True)
    return tmp_path


def refused(place: Path, **files: str) -> str:
    """The message for a client.toml with these files, which can be no other's."""
    names = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"} | files
    with pytest.raises(ConfigError) as caught:
        credentials(ClientConfig(signing="127.0.0.1:1", base=str(place), **names))
    assert caught.value.reason == "CERTIFICATE"
    return caught.value.message


def test_a_curve_that_nobody_has_is_named(place: Path) -> None:
    """A certificate of a key that our library does not know is as unreadable as any other."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp112r1", "-nodes"]
    command += ["-subj", "/CN=odd", "-keyout", place / "odd.key", "-out", place / "odd.pem"]
    subprocess.run(command, check=True, capture_output=True)

    assert "cannot be read" in refused(place, cert="odd.pem", key="odd.key")
    assert "cannot be read" in refused(place, cert="odd.pem")


def test_extensions_that_cannot_be_read_are_the_server_s_to_judge(place: Path) -> None:
    """Some CAs write what our library does not take; the server's may, and it is the one that decides."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=odd", "-keyout", place / "odd.key", "-out", place / "odd.pem"]
    subprocess.run([*command, "-addext", "subjectAltName=DER:ff"], check=True, capture_output=True)

    credentials(ClientConfig(signing="127.0.0.1:1", base=str(place), ca="ca.pem", cert="odd.pem", key="odd.key"))


def test_a_ca_that_is_no_certificate_is_named(place: Path) -> None:
    """Otherwise the handshake fails at our own side, and the server is blamed."""
    (place / "empty.pem").write_bytes(b"")

    assert "ca = " in refused(place, ca="empty.pem")
    assert "ca = " in refused(place, ca="client.key")


@pytest.mark.parametrize("token", [b"a.b\x01.c", b"a.b\t.c", b"a.\x7f.c"])
def test_a_token_with_what_no_header_carries_is_named(tmp_path: Path, token: bytes) -> None:
    """What gRPC cannot send is refused as a file, with what to do."""
    path = tmp_path / "token"
    path.write_bytes(token)

    with pytest.raises(ConfigError) as caught:
        TokenFile(path).metadata()
    assert caught.value.reason == "TOKEN_FILE"


class Daemon(signing_pb2_grpc.SigningServiceServicer):
    """Has no lines."""

    async def ListKeys(self, request: Any, context: Any) -> pb.ListKeysResponse:  # noqa: N802
        """None."""
        return pb.ListKeysResponse()


async def listening(place: Path, port: int = 0) -> tuple[grpc.aio.Server, int]:
    """A daemon that lets in whom the CA in the file `trusted.pem` names now."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    signing_pb2_grpc.add_SigningServiceServicer_to_server(Daemon(), server)  # type: ignore[no-untyped-call]
    names = ("server.key", "server.pem", "trusted.pem")
    key, certificate, trusted = [(place / name).read_bytes() for name in names]
    trust = grpc.ssl_server_credentials([(key, certificate)], trusted, require_client_auth=True)
    port = server.add_secure_port(f"127.0.0.1:{port}", trust)
    await server.start()
    return server, port


def test_a_certificate_that_was_replaced_is_taken(place: Path) -> None:
    """Who signs for months renews it: what the next connection is made with is the one in its place."""
    now = datetime.now(UTC)
    other = make_authority(now)

    async def scenario() -> None:
        (place / "trusted.pem").write_bytes((place / "ca.pem").read_bytes())
        server, port = await listening(place)
        files = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
        config = ClientConfig(signing=f"127.0.0.1:{port}", base=str(place), **files)
        async with AsyncClient(config) as client:
            await client.keys()
            await server.stop(None)
            write_authority(other, place / "trusted.pem")
            issue(other, place, "client", now=now, uris=("spiffe://a/b",))
            server, _ = await listening(place, port)
            await client.keys()
            await client.keys()
        await server.stop(None)

    asyncio.run(scenario())
