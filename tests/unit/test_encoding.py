"""Is a file that is not UTF-8 an error with its name, as any other that cannot be read?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from sealpress import config
from sealpress.cli.app import build
from sealpress.client import load_client
from sealpress.errors import ConfigError, Damaged, NotPermitted
from sealpress.hsm.custody import mandate, read_evidence
from sealpress.hsm.state import State, known_pins
from sealpress.steps._strangers import Strangers
from sealpress.telemetry import Telemetry

TEXT = b'# Schl\xfcssel\nschema = 1\nx = "\xfc"\n'
STATE = {  # MessagePack of one field: the name of a key or slot
    "stops": b"\x81\xa5since\x81\xa1\xfc\x01",
    "pins": b"\x81\xa8rejected\x81\xa1\xfc\x90",
}


@pytest.mark.parametrize("load", [config.load, load_client])
def test_a_configuration(tmp_path: Path, load: Callable[[Path], Any]) -> None:
    """Somebody's editor wrote a comment in another encoding: exit 2, with the file's name."""
    path = tmp_path / "sealpress.toml"
    path.write_bytes(TEXT)
    with pytest.raises(ConfigError, match=r"sealpress\.toml"):
        load(path)


def test_a_draft_of_trust_anchors(tmp_path: Path) -> None:
    """Exit 2, with the file's name."""
    (tmp_path / "draft.toml").write_bytes(TEXT)
    done = CliRunner().invoke(build("anchors"), ["anchors", "make", str(tmp_path / "draft.toml")])
    assert done.exit_code == 2
    assert "draft.toml" in done.output


@pytest.mark.parametrize("name", STATE)
def test_a_file_of_the_signer_s_state(tmp_path: Path, name: str) -> None:
    """SIGNER_STATE with exit 3, and what to do; whoever is not the signer takes it for unreadable."""
    State(tmp_path, SeededEntropy(1)).close()
    (tmp_path / name).write_bytes(STATE[name])
    with pytest.raises(Damaged) as refusal:
        State(tmp_path, SeededEntropy(1))
    assert refusal.value.reason == "SIGNER_STATE"
    assert (known_pins(tmp_path) is None) == (name == "pins")


def test_a_change_for_the_custodian() -> None:
    """It is no change record: NotPermitted, with a reason."""
    with pytest.raises(NotPermitted):
        mandate(read_evidence(b'{"change": "\xfc"}'), ("key.issue",), "", "", None, 0)


def test_what_was_told_of_strange_keys(tmp_path: Path) -> None:
    """One that cannot be read is as none: the node starts, and tells again."""
    path = tmp_path / "strangers.json"
    path.write_bytes(b'{"\xfc": {}}')
    shared: Any = SimpleNamespace(telemetry=Telemetry(VirtualClock()))
    Strangers(shared, path).close()
