"""Is a veto that cannot be had wrong configuration, whatever its module does?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealpress.errors import ConfigError
from sealpress.wiring import governed


@pytest.mark.parametrize("text", ["def (", "raise OSError('no licence')", "missing", "veto = 1"])
def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """It ends the start with 4, and not with a traceback and 1, after which it would be started again and again."""
    (tmp_path / "their_veto.py").write_text(text + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_veto", raising=False)
    with pytest.raises(ConfigError, match=r"\[governance\] veto 'their_veto:veto'"):
        governed.veto("their_veto:veto")
