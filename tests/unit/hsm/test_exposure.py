"""Files with secrets that others can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import Config, load, resolve
from sealpress.hsm.exposure import exposed, warn_of_exposed

TEXT = """
schema = 1
[node]
name = "n"
data = "data"
environment = "test"
[log.main]
name = "dev.example/main"
key = "log.key"
public_key = "log.pub"
[slot.s1]
module = "m.so"
label = "l"
pin_file = "pin"
"""


def configured(directory: Path) -> Config:
    """A log key and a PIN, for their owner alone."""
    (directory / "c.toml").write_text(TEXT)
    for name in ("log.key", "pin"):
        (directory / name).touch(0o600)
    return load(directory / "c.toml")


@pytest.mark.parametrize(
    ("mode", "readers"), [(0o400, ""), (0o600, ""), (0o640, "its group"), (0o604, "every user"), (0o644, "every user")]
)
def test_who_else_can_read_a_secret(tmp_path: Path, mode: int, readers: str) -> None:
    """Nobody, its group, or everybody."""
    (tmp_path / "pin").touch()
    (tmp_path / "pin").chmod(mode)
    assert readers == exposed(tmp_path / "pin")


def test_what_is_not_there_is_for_others_to_say(tmp_path: Path) -> None:
    """No warning hides the error that follows."""
    assert not exposed(tmp_path / "nowhere")


def test_a_signer_names_each_secret_that_others_can_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By its section, with what to do; and nothing of those that only it can read."""
    config = configured(tmp_path)
    warn_of_exposed(config, lambda value: resolve(tmp_path / "c.toml", value))
    assert not caplog.records
    (tmp_path / "pin").chmod(0o644)
    warn_of_exposed(config, lambda value: resolve(tmp_path / "c.toml", value))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("[slot.s1] pin_file: every user can read ")
    assert "chmod 600" in said


def test_a_signer_says_that_others_write_into_its_state(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever does can have a stop forgotten; a directory of its own is none."""
    config = configured(tmp_path)
    state = resolve(tmp_path / "c.toml", config.signer.state)
    state.mkdir(parents=True, mode=0o700)
    warn_of_exposed(config, lambda value: resolve(tmp_path / "c.toml", value))
    assert not caplog.records
    state.chmod(0o770)
    warn_of_exposed(config, lambda value: resolve(tmp_path / "c.toml", value))
    assert ["[signer] state"] == [record.getMessage().split(":")[0] for record in caplog.records]
