"""Files that the signer's configuration names, and that have no end: refused, not read for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import Signer
from sealpress.errors import ConfigError
from sealpress.hsm.keytable import read_spki
from sealpress.hsm.pinned import NoPins, load_anchors


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Larger than any memory, and takes no room."""
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(1 << 40)
    return tmp_path / "endless"


def test_a_public_key_without_end_is_refused(endless: Path) -> None:
    """The section is named, and no memory is filled."""
    with pytest.raises(ConfigError, match=r"\[key\.k1\]: .*/endless: larger than"):
        read_spki("[key.k1]", endless)


def test_anchors_without_end_are_refused(endless: Path) -> None:
    """They are read as far as a document may be long."""
    with pytest.raises(ConfigError, match="/endless: larger than"):
        load_anchors(Signer(anchors=str(endless)), Path, NoPins())
