"""What stands in a log directory, seen from outside: for backup and archive, which run beside a daemon.

Guarantees: everything up to `end` is committed and durable: the active segment is synced here after its last COMMIT was
found, so what we call part of the log survives the machine that wrote it. Files that we give a name are durable
first, and belong to the owner of the place where root makes them. Does not: look into sealed segments (their headers
must follow one another), or judge roots (check.py does).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sealpress.core.names import sync_directory
from sealpress.core.segment import FIRST_FRAME, Frame, Segment, SegmentHeader, segment_name
from sealpress.errors import CannotStart, CoreError, Damaged, Invalid
from sealpress.tlog import torn
from sealpress.tlog.entry import Where
from sealpress.values import RecordType

NAME = re.compile(r"(\d{20})\.seg")
CHUNK = 1 << 20
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Standing:
    """The segments of one log, lowest first; the last is the active one, all others are sealed."""

    directory: Path
    headers: dict[int, SegmentHeader]
    end: Where

    @property
    def sealed(self) -> list[int]:
        """Their numbers."""
        return sorted(self.headers)[:-1]

    def path(self, number: int) -> Path:
        """Of a segment."""
        return self.directory / "journal" / segment_name(number)


def look(directory: Path) -> Standing:
    """Take it in. Invalid LOG_MISSING: no log; Damaged LOG_DAMAGED: a segment is missing or has no header."""
    found = [NAME.fullmatch(name) for name in _names(directory / "journal")]
    numbers = sorted(int(match[1]) for match in found if match is not None)
    headers: dict[int, SegmentHeader] = {}
    spare = None
    for number in numbers:
        try:
            with Segment(directory / "journal" / segment_name(number)) as segment:
                headers[number] = segment.header
        except CoreError as error:
            if error.name == "SP_E_CORRUPT":
                spare = number if spare is None else spare  # or a first batch that is being written
                continue
            raise damaged(
                directory / "journal" / segment_name(number), error, hint="run `sealpress log verify`"
            ) from error
    if not headers:
        raise Invalid(f"{directory}: no log stands here", reason="LOG_MISSING", hint="the directory is <data>/<log>")
    active, first = max(headers), min(headers)
    if len(headers) != active - first + 1 or (spare is not None and spare < active):
        raise Damaged(
            f"{directory}: segments are missing, or have lost their header, between {first} and {active}",
            reason="LOG_DAMAGED",
            hint="run `sealpress log verify`; daemon/DAMAGED-LOG.md says what to do",
        )
    return Standing(directory, headers, Where(active, _end_of(directory, active)))


def nothing_lost(standing: Standing) -> None:
    """Damaged LOG_DAMAGED if COMMITs stand behind what `look` took for the end, and nobody goes on to write there."""
    number, end = standing.end
    path = standing.path(number)
    try:
        with Segment(path) as segment, path.open("rb") as file:
            data = torn.FileBytes(file)
            while (commit := torn.last_commit(segment, data, end)) is not None and commit > torn.batches(segment, end):
                before, end = end, _end_of(standing.directory, number)
                if end == before:
                    raise Damaged(
                        f"{path}: no frame can be read at byte {end}, and a valid COMMIT follows",
                        reason="LOG_DAMAGED",
                        hint="run `sealpress log verify`; daemon/DAMAGED-LOG.md says what to do",
                    )
    except OSError as error:
        raise no_use(path, error) from error


def segments(directory: Path) -> list[Path]:
    """Their files, lowest first, spare ones too; what has no name of a segment is none."""
    return sorted(
        path for path in (directory / "journal").glob("*.seg") if NAME.fullmatch(path.name) and path.is_file()
    )


def frames(path: Path) -> Iterator[Frame]:
    """Frames of a sealed segment. Damaged if one is, or is lost."""
    try:
        with Segment(path) as segment:
            yield from segment.frames(whole=True)
    except CoreError as error:
        raise damaged(path, error, hint="run `sealpress log verify` on the log") from error


def put(target: Path, parts: Iterator[bytes], size: int | None = None) -> None:
    """Write a file under a name of its own, sync it, rename it: whole or not at all. With `size`, zeros follow."""
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            _give(file.fileno(), target.parent)
            for part in parts:
                file.write(part)
            if size is not None:
                file.truncate(size)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
        sync_directory(target.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise no_use(target, error) from error
        raise


def read(path: Path, size: int | None = None) -> Iterator[bytes]:
    """The first `size` bytes of a file, or all of them, in pieces."""
    try:
        with path.open("rb") as file:
            left = size if size is not None else path.stat().st_size
            while left and (part := file.read(min(CHUNK, left))):
                left -= len(part)
                yield part
    except OSError as error:
        raise no_use(path, error) from error


def _give(made: int | Path, place: Path) -> None:
    """What root makes in somebody's place is his, where that can be: a daemon must be able to use its own log."""
    if os.geteuid() == 0:
        there = place.stat()
        with suppress(PermissionError):
            os.chown(made, there.st_uid, there.st_gid, follow_symlinks=isinstance(made, int))


def make_directory(path: Path) -> None:
    """As all directories of a log: for its owner and group. The names that lead there are durable."""
    try:
        new = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        for each in reversed(new):
            _give(each, each.parent)
            sync_directory(each.parent)
    except OSError as error:
        raise no_use(path, error) from error


def no_use(path: Path, error: OSError) -> CannotStart:
    """Here and now the file system does not let us."""
    return CannotStart(
        f"{path}: {error.strerror or error}",
        reason="NO_ACCESS",
        hint="see permissions and free space; then run it again",
    )


def refused(error: Exception) -> OSError | None:
    """What the machine said where it did not let us read at all: nothing is known of the file then."""
    number = error.system_errno if isinstance(error, CoreError) else 0
    number = errno.ENOMEM if isinstance(error, CoreError) and error.name == "SP_E_MEMORY" else number
    return OSError(number, os.strerror(number)) if number in _REFUSALS else None


def damaged(path: Path, error: CoreError, hint: str) -> CannotStart | Damaged:
    """The error for a file that the core did not take."""
    if (system := refused(error)) is not None:
        return no_use(path, system)
    return Damaged(f"{path}: {error.message}", reason="LOG_DAMAGED", hint=hint)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise no_use(directory, error) from error


def _end_of(directory: Path, active: int) -> int:
    """One past the last COMMIT of the active segment, which is durable when this returns."""
    path = directory / "journal" / segment_name(active)
    end = FIRST_FRAME
    with Segment(path) as segment:
        try:
            for frame in segment.frames():
                if frame.type == RecordType.COMMIT:
                    end = frame.next_offset
        except CoreError:
            pass  # a batch that is being written, or a torn one: not part of the log
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(handle)  # an error comes to the daemon as well: the kernel tells each open file once
        finally:
            os.close(handle)
    except OSError as error:
        raise no_use(path, error) from error
    return end
