"""Is a key of the custodian's configuration refused by its name, for what no token can look for?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import load
from sealpress.errors import ConfigError
from sealpress.wiring.custodian import Office

TOML = """
schema = 1
[node]
name = "n"
data = "data"
environment = "test"
[key.k]
log = "ci"
slots = ["s"]
public_key = "missing.pem"
line = "a/b/c/d/e"
mode = "proof"
format = "tlog-proof"
class = "test"
cka_id = "0x01"
"""


def test_an_id_that_is_not_hex_is_wrong_usage(tmp_path: Path) -> None:
    """It was a traceback, after the change was found good."""
    path = tmp_path / "custodian.toml"
    path.write_text(TOML)
    with pytest.raises(ConfigError, match=r"\[key\.k\]: `cka_id` is not hex"):
        Office(load(path), path, "person:a", 0).key("k")


def test_a_public_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the path that was looked at."""
    path = tmp_path / "custodian.toml"
    path.write_text(TOML.replace("0x01", "01"))
    with pytest.raises(ConfigError, match=r"\[key\.k\] public_key: .*/missing\.pem: No such file"):
        Office(load(path), path, "person:a", 0).key("k")
