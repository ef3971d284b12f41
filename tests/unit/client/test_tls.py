"""Are files that nobody could connect with named before anything is sent?"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealpress.client.config import ClientConfig
from sealpress.client.tls import credentials
from sealpress.client.token import TokenFile
from sealpress.errors import TransportError
from sealpress.wiring.certificates import issue, make_authority, write_authority


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a CA and a client's certificate of it."""
    authority = make_authority(datetime.now(UTC))
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "client", now=datetime.now(UTC), uris=("spiffe://a/b",))
    return tmp_path


def refused(place: Path, **files: str) -> str:
    """The message for a client.toml with these files, which can be no other's."""
    names = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"} | files
    with pytest.raises(TransportError) as caught:
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

    with pytest.raises(TransportError) as caught:
        TokenFile(path).metadata()
    assert caught.value.reason == "TOKEN_FILE"
