"""Logs whose old segments went to an archive."""

from __future__ import annotations

from pathlib import Path

from kit.scribe import Scribe
from sealpress.tlog import archive
from sealpress.tlog.archived import Part


def archived(scribe: Scribe, to: Path, **how: int) -> list[Part]:
    """Archive as of the scribe's clock; by default all but one sealed segment, whatever their age."""
    options = {"keep": 1, "older_s": 0, "window_s": 0} | how
    return archive.archive(scribe.settings.directory, to, now_s=scribe.clock.now_ns() // 1_000_000_000 + 1, **options)


def aged(tmp_path: Path) -> Scribe:
    """A log with several segments, all of it older than the window, closed."""
    scribe = Scribe(tmp_path / "log", 3)
    scribe.open()
    scribe.history(200)
    scribe.clock.advance(2 * 86_400)
    scribe.request(1)
    return scribe
