"""The signer's directory: files of slots whose names look like those of files that are being written."""

from __future__ import annotations

from pathlib import Path

from kit.entropy import SeededEntropy
from sealpress.hsm.state import State


def test_a_quarantine_ends_no_other(tmp_path: Path) -> None:
    """Slots `a` and `a.new`: what is written of one is never taken for the other's, nor put in its place."""
    state = State(tmp_path, SeededEntropy())
    state.quarantine("a.new", "REPEATED_NONCE")
    state.quarantine("a", "REPEATED_NONCE")
    assert (True, True) == (state.quarantined("a.new"), state.quarantined("a"))
    state.close()
