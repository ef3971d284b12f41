"""Do wrong certificate files leave the old ones in use?"""

from __future__ import annotations

import io
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.clock import VirtualClock
from sealpress.clock import SystemClock
from sealpress.errors import CannotStart
from sealpress.rpc.tls import TlsFiles, TlsPaths
from sealpress.telemetry import Telemetry
from sealpress.wiring.certificates import issue, make_authority, write_authority


def test_a_key_that_our_library_does_not_know_is_a_wrong_file(tmp_path: Path) -> None:
    """At start CannotStart; at a reload the old certificate stays, and nothing else happens."""
    authority = make_authority(datetime.now(UTC))
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "server", now=datetime.now(UTC), hosts=("localhost",), server=True)
    paths = TlsPaths(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    files = TlsFiles(paths, 1, VirtualClock(), Telemetry(VirtualClock()))
    before = files.not_after
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp112r1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=odd", "-keyout", str(paths.key), "-out", str(paths.cert)]
    subprocess.run(command, check=True, capture_output=True)
    files.reload()

    assert files.not_after == before
    with pytest.raises(CannotStart) as caught:
        TlsFiles(paths, 1, VirtualClock(), Telemetry(VirtualClock()))
    assert caught.value.reason == "TLS_FILES"


@pytest.mark.parametrize("days", [-365, 365])
def test_a_certificate_out_of_its_dates_never_replaces_a_good_one(tmp_path: Path, days: int) -> None:
    """An old copy put there, or one for later: the certificate in use stays, until a good one comes."""
    now = datetime.now(UTC)
    authority = make_authority(now)
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "server", now=now, hosts=("localhost",), server=True)
    paths = TlsPaths(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    files = TlsFiles(paths, 1, SystemClock(), Telemetry(SystemClock()))
    before = files.not_after
    issue(authority, tmp_path, "server", now=now + timedelta(days=days), hosts=("localhost",), server=True)
    files.reload()
    assert files.not_after == before
    issue(authority, tmp_path, "server", now=now + timedelta(seconds=60), hosts=("localhost",), server=True)
    files.reload()
    assert files.not_after > before


def test_a_start_with_a_certificate_that_has_ended_is_told(tmp_path: Path) -> None:
    """It is the only one there, and no client takes it: an operator reads so, not only its date."""
    now = datetime.now(UTC)
    authority, words = make_authority(now), io.StringIO()
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "server", now=now, lifetime=timedelta(days=-1), server=True)
    paths = TlsPaths(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    TlsFiles(paths, 1, SystemClock(), Telemetry(SystemClock(), words))

    assert [json.loads(line)["event"] for line in words.getvalue().splitlines()] == ["tls_loaded", "tls_unusable"]
