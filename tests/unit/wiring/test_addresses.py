"""Is an address on which nobody can listen, or everybody could, refused before a log is opened?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import load
from sealpress.errors import ConfigError
from sealpress.wiring import consistency, governed

TOML = """
schema = 1
[node]
name = "n"
data = "data"
environment = "test"
[log.ci]
name = "a.example/ci"
key = "k"
public_key = "p"
governance = true
[[listen]]
address = "{}"
services = ["http"]
auth = "none"
"""


@pytest.mark.parametrize("address", ["localhost", "localhost:", "localhost:http", "localhost:65536", ":9090", "9090"])
def test_an_address_without_host_or_port_is_refused(tmp_path: Path, address: str) -> None:
    """Without a host the plain listener would be open to every network of the machine, and those with TLS to none."""
    path = tmp_path / "sealpress.toml"
    path.write_text(TOML.format(address))
    with pytest.raises(ConfigError, match=rf"\[\[listen\]\] address '{address}': not host:port") as caught:
        consistency.check(load(path), governed.NOTHING)

    assert "0.0.0.0" in caught.value.hint


@pytest.mark.parametrize("address", ["localhost:0", "[::1]:9090", "0.0.0.0:65535"])
def test_an_address_is_a_host_and_a_port(tmp_path: Path, address: str) -> None:
    """Of either kind, and by its name."""
    path = tmp_path / "sealpress.toml"
    path.write_text(TOML.format(address))

    consistency.check(load(path), governed.NOTHING)
