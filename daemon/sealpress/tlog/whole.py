"""Reads a log together with what was archived of it.

Guarantees: no segment moves meanwhile; what is expanded for it stands below TMPDIR and goes again. Does not: change the
log.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealpress.core.segment import segment_name
from sealpress.tlog.archived import Part, expanded, here, listed
from sealpress.tlog.reader import begins_behind
from sealpress.tlog.standing import put, segments
from sealpress.tlog.turns import unmoved


@dataclass(frozen=True, slots=True)
class Files:
    """The segments of a log, each to be read once, lowest first, and how long they are together."""

    paths: Iterable[Path]
    bytes: int


def standing_files(directory: Path) -> Files:
    """Those in the directory itself."""
    paths = segments(directory)
    return Files(paths, sum(path.stat().st_size for path in paths))


@contextmanager
def whole(directory: Path, source: Path | None = None, from_seq: int = 0) -> Iterator[Path]:
    """A directory in which the whole log can be read: the log's own, or links to it beside expanded segments.

    With `from_seq` without archived segments that end before it. It takes as much room below TMPDIR as those had that
    it needs. Errors as of `bring_back`.
    """
    with unmoved(directory):
        archived = listed(directory)
        absent = [part for part in archived.parts if not here(directory, part)] if archived is not None else []
        absent = absent[max(0, bisect_right(absent, from_seq, key=lambda part: part.first_seq) - 1) :]
        if not absent or any(not begins_behind(path, from_seq) for path in segments(directory)[:1]):
            yield directory
            return
        yield from _view(directory, absent, source)


@contextmanager
def reading(directory: Path, source: Path | None = None) -> Iterator[Files]:
    """The whole log for one who reads each segment once: archived ones are expanded when it is their turn.

    It takes as much room below TMPDIR as one segment. Errors as of `bring_back`, but at that moment.
    """
    with unmoved(directory):
        archived = listed(directory)
        absent = [part for part in archived.parts if not here(directory, part)] if archived is not None else []
        there = standing_files(directory)
        size = there.bytes + sum(part.segment_bytes for part in absent)
        with closing(_each({part.number: part for part in absent}, there.paths, source)) as paths:
            yield Files(paths, size)


def _each(absent: Mapping[int, Part], there: Iterable[Path], source: Path | None) -> Generator[Path, None, None]:
    standing = {int(path.stem): path for path in there}
    for number in sorted({*absent, *standing}):
        if number in standing:
            yield standing[number]
            continue
        with tempfile.TemporaryDirectory(prefix="sealpress-log-") as place:
            target = Path(place) / segment_name(number)
            put(target, expanded(absent[number], source))
            yield target


def _view(directory: Path, absent: list[Part], source: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sealpress-log-") as place:
        view = Path(place)
        (view / "journal").mkdir()
        for entry_ in directory.iterdir():
            if entry_.name != "journal":
                (view / entry_.name).symlink_to(entry_.resolve())
        for path in (directory / "journal").glob("*.seg"):
            (view / "journal" / path.name).symlink_to(path.resolve())
        for part in absent:
            put(view / "journal" / segment_name(part.number), expanded(part, source))
        yield view
