"""Does a start end with one error, soon, whatever the files are that the configuration names?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.clock import VirtualClock
from sealpress.config import Config, load
from sealpress.errors import CannotStart, ConfigError, SealpressError
from sealpress.hsm.keytable import read_spki
from sealpress.rpc.tls import TlsFiles, TlsPaths
from sealpress.telemetry import Telemetry
from sealpress.wiring import consistency, governed
from sealpress.wiring.keys import NodeKeys
from sealpress.wiring.serve import Daemon

TOML = """
schema = 1
[node]
name = "n"
data = "data"
environment = "test"
policy = "endless"
[log.ci]
name = "a.example/ci"
key = "endless"
public_key = "endless"
governance = true
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a configuration, and a file that is larger than any memory."""
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "sealpress.toml").write_text(TOML)
    return tmp_path


def _tls(place: Path, config: Config) -> Any:
    paths = TlsPaths(place / "endless", place / "endless", place / "endless")
    return TlsFiles(paths, 1, VirtualClock(), Telemetry(VirtualClock()))


def _policy(place: Path, config: Config) -> Any:
    return Daemon(config, place / "sealpress.toml", as_json=False)._read_policy()


def _node_key(place: Path, config: Config) -> Any:
    return NodeKeys(config, lambda name: place / name, Telemetry(VirtualClock())).log_vkey("ci")


def _signer_key(place: Path, config: Config) -> Any:
    return read_spki("[log.ci]", place / "endless")


@pytest.mark.parametrize("read", [_tls, _policy, _node_key, _signer_key])
def test_a_file_without_an_end_is_not_read_to_it(place: Path, read: Callable[[Path, Config], Any]) -> None:
    """A certificate, policy or key that is /dev/zero ends a start with a message that names it, and takes no memory."""
    with pytest.raises(SealpressError, match=r"endless: larger than") as caught:
        read(place, load(place / "sealpress.toml"))

    assert isinstance(caught.value, ConfigError | CannotStart)


def test_a_node_that_nobody_could_reach_does_not_start(place: Path) -> None:
    """A section that was forgotten, or called [listen], is said at the start, and not found out by the first caller."""
    with pytest.raises(ConfigError, match=r"\[\[listen\]\]") as caught:
        consistency.check(load(place / "sealpress.toml"), governed.NOTHING)

    assert "[[listen]] address =" in caught.value.hint
