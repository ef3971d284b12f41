"""Is everything that was signed written, whatever becomes of the rest?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.cli import sign
from sealpress.cli.files import Hashed
from sealpress.errors import ConfigError
from sealpress.values import DigestAlgorithm, Mode


def test_a_part_that_cannot_be_written_costs_no_other(tmp_path: Path) -> None:
    """The next one is signed by then: its answers come only once, and are there."""
    algorithm = DigestAlgorithm.SHA256
    (tmp_path / "a.sig").mkdir()
    parts = [[Hashed(tmp_path / name, algorithm, bytes(32), 0)] for name in "abc"]
    answer = SimpleNamespace(documents=[b"signature"], first_leaf_index=0, event_id="e")
    daemon: Any = SimpleNamespace(key=lambda _: SimpleNamespace(mode=Mode.DIRECT), sign_batch=lambda *_, **__: answer)
    with pytest.raises(ConfigError, match=r"a\.sig"):
        list(sign._sign(daemon, sign.Act("a/b/c/d/e", algorithm, None, "", 0), iter(parts)))

    assert (tmp_path / "b.sig").read_bytes() == b"signature"
    assert not (tmp_path / "c.sig").exists()
