"""Is what is wrong with the files that client.toml names a wrong configuration, like client.toml itself?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sealpress.cli.app import build
from sealpress.wiring.certificates import make_authority, write_authority


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ('cert = "no.pem"\nkey = "no.key"', "CERTIFICATE"),
        ('cert = "ca.pem"\nkey = "ca.pem"', "CERTIFICATE"),
        ("", "NO_CERTIFICATE"),
        ('token = "no.jwt"', "TOKEN_FILE"),
    ],
)
@pytest.mark.parametrize("command", ["status", "approve"])
def test_a_file_that_does_not_do_is_a_wrong_configuration(
    tmp_path: Path, command: str, named: str, reason: str
) -> None:
    """Exit 2, as for a wrong client.toml: a pipeline that tries again on 1 does not try for ever."""
    write_authority(make_authority(datetime.now(UTC)), tmp_path / "ca.pem")
    path = tmp_path / "client.toml"
    path.write_text(f'signing = "127.0.0.1:1"\ncontrol = "127.0.0.1:1"\nca = "ca.pem"\n{named}\n')
    done = CliRunner().invoke(build(command), [command, "--client", str(path)])

    assert (2, True) == (done.exit_code, done.stderr.startswith(f"sealpress: {reason}: ")), done.stderr


@pytest.mark.parametrize(
    ("line", "named"),
    [('signing = "sign.acme.example"', "signing"), ('audit = "localhost"', "audit"), ('control = "a:b"', "control"),
     ('base = "/etc"', "base")],
)  # fmt: skip
def test_a_key_that_means_nothing_is_said(tmp_path: Path, line: str, named: str) -> None:
    """Without its port an address was asked at 443, and whoever forgot it looked for a daemon that did not run."""
    keys = {"signing": '"127.0.0.1:1"', "ca": '"ca.pem"'} | dict([line.split(" = ")])
    (tmp_path / "client.toml").write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
    done = CliRunner().invoke(build("status"), ["status", "--client", str(tmp_path / "client.toml")])

    assert (2, True) == (done.exit_code, done.stderr.startswith("sealpress: CONFIG: ")), done.stderr
    assert f"`{named}`" in done.stderr
