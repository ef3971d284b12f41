"""Files that the signer's configuration names, and that have no end: refused, not read for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import Signer
from sealpress.errors import ConfigError
from sealpress.hsm.keytable import read_spki
from sealpress.hsm.pinned import NoPins, load_anchors

ENDLESS = "/dev/zero"


def test_a_public_key_without_end_is_refused() -> None:
    """The section is named, and no memory is filled."""
    with pytest.raises(ConfigError, match=r"\[key\.k1\]: /dev/zero: larger than"):
        read_spki("[key.k1]", Path(ENDLESS))


def test_anchors_without_end_are_refused() -> None:
    """They are read as far as a document may be long."""
    with pytest.raises(ConfigError, match="/dev/zero: larger than"):
        load_anchors(Signer(anchors=ENDLESS), Path, NoPins())
