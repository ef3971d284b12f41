"""Does who writes a policy file hear what is wrong with it, and what to do?"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from sealpress.cli.app import build

POLICY = """
schema = 1
[line."acme/app/eu/prod/app"]
class = "low"
mode = "proof"
format = "ecdsa-der"
"""


def test_validate_says_what_to_do(tmp_path: Path) -> None:
    """The daemon refuses such a file with a hint, so whoever checks it before hears no less."""
    (tmp_path / "policy.toml").write_text(POLICY)
    done = CliRunner().invoke(build("policy"), ["policy", "validate", str(tmp_path / "policy.toml")])

    assert done.exit_code == 1
    assert '(mode "proof" has format "tlog-proof"; the other formats are direct)' in done.stdout
