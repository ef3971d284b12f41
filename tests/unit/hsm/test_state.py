"""The signer's own directory: one signer, stops that last, PINs that are not tried again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.entropy import SeededEntropy
from sealpress.errors import CannotStart, Damaged
from sealpress.hsm.state import State

NOBODY = 65534


def test_one_signer_at_a_time(tmp_path: Path) -> None:
    """A second one is told what to do; after the first has gone it may."""
    first = State(tmp_path, SeededEntropy())
    with pytest.raises(CannotStart) as caught:
        State(tmp_path, SeededEntropy())
    assert caught.value.reason == "SIGNER_IN_USE"
    first.close()
    State(tmp_path, SeededEntropy()).close()


def test_stops_and_rejected_pins_outlive_the_process(tmp_path: Path) -> None:
    """What was written is there after a restart, under the same tag key."""
    state = State(tmp_path, SeededEntropy())
    state.stop("k1")
    state.reject("s1", b"t" * 32)
    state.reject("s1", b"t" * 32)
    state.reject("s1", b"")
    key = state.tag_key
    state.close()

    again = State(tmp_path, SeededEntropy(5))
    assert (again.stopped("k1"), again.stopped("k2"), again.stopped_all) == (True, False, False)
    assert (again.rejected("s1"), again.rejected("s2"), again.tag_key) == ((b"t" * 32,), (), key)
    again.stop(None)
    assert again.stopped("k2")
    assert again.stopped_all
    again.close()


@pytest.mark.parametrize("name", ["stops", "pins"])
def test_a_damaged_file_is_never_an_empty_one(tmp_path: Path, name: str) -> None:
    """A stop must not be forgotten because its file is unreadable."""
    state = State(tmp_path, SeededEntropy())
    state.stop("k1")
    state.close()
    (tmp_path / name).write_bytes(b"\xc1")

    with pytest.raises(Damaged):
        State(tmp_path, SeededEntropy())


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("name", ["stops", "pins", "operations"])
def test_another_user_s_file_is_no_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After a start by root the signer may not read its own: exit 4 with the name, and no advice to move it away."""
    State(tmp_path, SeededEntropy()).close()
    (tmp_path / name).touch(0o600)
    for path in (tmp_path, tmp_path / "lock", tmp_path / "pins"):
        os.chown(path, NOBODY, NOBODY)
    os.chown(tmp_path / name, 0, 0)
    monkeypatch.chdir(tmp_path)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError, match=name):
            State(Path(), SeededEntropy()).operations()
    finally:
        os.seteuid(0)


def test_a_stop_holds_even_if_it_cannot_be_written(tmp_path: Path) -> None:
    """In force at once; the caller hears that it is not durable."""
    state = State(tmp_path, SeededEntropy())
    (tmp_path / "stops+new").mkdir()

    with pytest.raises(Damaged):
        state.stop("k1")
    assert state.stopped("k1")
    state.close()
