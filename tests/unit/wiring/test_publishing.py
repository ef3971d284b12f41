"""Does the published checkpoint keep up with what is sealed, also after a disk that was full for a moment?"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.clock import VirtualClock
from kit.scribe import NAME, HeadSigner
from sealpress.telemetry import Telemetry
from sealpress.tlog import checkpoint
from sealpress.tlog.checkpoint import CheckpointFile
from sealpress.wiring.publishing import flush


def note(size: int) -> bytes:
    """A head signed by the log."""
    return HeadSigner(f"{NAME}/1", NAME).note(size, hashlib.sha256(b"%d" % size).digest(), 1, line=False)


def published(directory: Path) -> int:
    """The size in the file; 0: there is none."""
    found = checkpoint.read(directory)
    return found.note.size if found is not None else 0


async def test_a_head_that_could_not_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next interval, though no newer one comes, and what was written is not written again; each is said once."""
    file, log = CheckpointFile(tmp_path), SimpleNamespace(id="log", sealed_note=note(1))
    state: Any = log
    said = io.StringIO()
    telemetry = Telemetry(VirtualClock(), said)

    def full(_directory: Path, _text: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        await flush(file, state, telemetry)
        await flush(file, state, telemetry)
    assert published(tmp_path) == 0
    await flush(file, state, telemetry)
    assert published(tmp_path) == 1
    told = [json.loads(line)["event"] for line in said.getvalue().splitlines()]
    assert told == ["checkpoint_unwritten", "checkpoint_written"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        await flush(file, state, telemetry)
    assert not file.flush()


def test_two_writes_at_once_follow_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last interval's is under way when the node stops: both share one temporary file."""
    file = CheckpointFile(tmp_path)
    real, begun, go_on = checkpoint.write, threading.Event(), threading.Event()

    def slow(directory: Path, text: bytes) -> None:
        begun.set()
        assert go_on.wait(5)
        real(directory, text)

    monkeypatch.setattr(checkpoint, "write", slow)
    file.offer(note(1))
    first = threading.Thread(target=file.flush)
    first.start()
    assert begun.wait(5)
    begun.clear()
    file.offer(note(2))
    second = threading.Thread(target=file.flush)
    second.start()
    assert not begun.wait(0.2)
    go_on.set()
    first.join(5)
    second.join(5)
    assert published(tmp_path) == 2
