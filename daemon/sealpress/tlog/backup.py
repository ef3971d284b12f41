"""Copies of a log: `backup` beside a running daemon, as often as one likes into the same place, and `restore`.

A backup is a log directory: sealed segments, the active one up to its last COMMIT and zeros behind it, the published
checkpoint, broken/, the list of archived segments. tree/ and index/ are derived and left out. A later backup copies the
sealed segments that are new, from the archive if they went there since, and the active one.

Guarantees: what is copied is a durable prefix of the log (standing.py); the copy is only called good, and `backup.json`
written, after the judge of `sealpress log verify` has read all of it back; a log that is no continuation of what the
backup holds is refused before anything is replaced, and so is a place in which a daemon writes: it would go on in files
that nobody finds again; two backups never write into one place at once; stopped anywhere, the next run puts it right.
Does not: take the signer's marks along (an old mark restored beside an old log is the one thing that only a witness
sees), compress, or decide whether a restored log is too old: at its start the signer's mark does (LOG_BEHIND_MARK).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from sealpress.core.names import sync_directory
from sealpress.core.segment import segment_name
from sealpress.errors import CannotStart, ConfigError, Damaged, Invalid
from sealpress.tlog import checkpoint
from sealpress.tlog.archived import NAME as LIST
from sealpress.tlog.archived import Part, expanded, listed
from sealpress.tlog.check import Progress, check_log
from sealpress.tlog.identity import identity
from sealpress.tlog.report import Report
from sealpress.tlog.standing import Standing, look, make_directory, no_use, nothing_lost, put, read
from sealpress.tlog.turns import alone, unmoved
from sealpress.tlog.whole import reading

NAME = "backup.json"


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`backup.json`: what the last run found good. Hashes in hex."""

    schema: int = 1
    origin: str
    tree_size: int
    root: str
    next_seq: int
    last_time_ns: int
    end_segment: int
    end_offset: int


def backup(
    directory: Path, target: Path, progress: Progress | None = None, archived: Path | None = None
) -> tuple[Backup, int]:
    """Bring `target` up to the log in `directory`: what it holds now, and how many segments were copied.

    `archived`: where archived segments are now, if not where they went. Invalid LOG_MISSING: no log; BACKUP_OTHER:
    another log stands in `target`; BACKUP_DIFFERS: another history of this one, or a newer state; ARCHIVE_MISSING or
    ARCHIVE_DAMAGED. Damaged COPY_DAMAGED: what was copied does not verify. CannotStart NO_ACCESS; LOG_IN_USE: a daemon
    writes its log in `target`, or another backup its copy.
    """
    with ExitStack() as using:
        with unmoved(directory), _unused(target):
            # First of all: a head that is published now is one of records that are there now.
            published = _published(directory)
            standing = look(directory)
            nothing_lost(standing)
            name, number = identity(directory)
            make_directory(target / "journal")
            readable = using.enter_context(alone(target))
            left = _left(directory, standing)
            held = _held(standing, left, target, archived)
            copied = 0
            for part in left.values():
                if held is not None and part.number >= held.end.segment:  # it went there before we had all of it
                    put(target / "journal" / segment_name(part.number), expanded(part, archived))
                    copied += 1
            begins = min(held.headers) if held is not None else 0
            # What came back from the archive from its highest on, so that the backup has no hole at any time.
            for segment in sorted(standing.headers, key=lambda number: (number >= begins, abs(number - begins))):
                if held is not None and segment in held.sealed:
                    continue
                end = standing.end.offset if segment == standing.end.segment else None
                size = standing.headers[segment].segment_bytes
                put(target / "journal" / segment_name(segment), read(standing.path(segment), end), size)
                copied += 1
            _copy_rest(directory, target, published)
        readable()
        report = _verified(target, name, number, progress, archived)
        made = Backup(
            origin=report.origin,
            tree_size=report.tree_size,
            root=report.root.hex(),
            next_seq=report.next_seq,
            last_time_ns=report.last_time_ns,
            end_segment=standing.end.segment,
            end_offset=standing.end.offset,
        )
        put(target / NAME, iter([msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"]))
    return made, copied


def restore(source: Path, target: Path, progress: Progress | None = None, archived: Path | None = None) -> Report:
    """Make a log directory of a backup; `archived` and other errors as of `backup`. ConfigError NOT_EMPTY.

    Killed anywhere, `target` is there whole or not at all.
    """
    with unmoved(source):
        look(source)
        name, number = identity(source)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ConfigError(
                f"{target}: something is there already",
                reason="NOT_EMPTY",
                hint="move the damaged directory aside (never delete it: it may hold records that no copy has)",
            )
        report = _verified(source, name, number, progress, archived)
        half = target.with_name(f".{target.name}.restoring")
        try:
            shutil.rmtree(half, ignore_errors=True)
            make_directory(half / "journal")
            for path in sorted((source / "journal").glob("*.seg")):
                put(half / "journal" / path.name, read(path), path.stat().st_size)
            _copy_rest(source, half, _published(source))
            half.rename(target)
            sync_directory(target.parent)
        except OSError as error:
            raise no_use(target, error) from error
    return report


@contextmanager
def _unused(target: Path) -> Iterator[None]:
    """No daemon writes in `target` for so long; a backup has no lock, a log that was served has."""
    try:
        handle = os.open(target / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield
        return
    except OSError as error:
        raise no_use(target / "lock", error) from error
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise CannotStart(
            f"{target}: a daemon writes its log here",
            reason="LOG_IN_USE",
            hint="first the log, then the directory of its backup: one that no daemon uses",
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def _left(directory: Path, standing: Standing) -> dict[int, Part]:
    """What left the log, by number."""
    found = listed(directory)
    return {part.number: part for part in found.parts if part.number < min(standing.headers)} if found else {}


def _held(standing: Standing, left: Mapping[int, Part], target: Path, archived: Path | None) -> Standing | None:
    """What the backup has already; it must be a beginning of the log."""
    try:
        held = look(target)
    except Invalid:
        return None
    theirs, ours = held.headers[held.end.segment], standing.headers[standing.end.segment]
    if theirs.log_id != ours.log_id:
        raise Invalid(
            f"{target}: another log is kept there", reason="BACKUP_OTHER", hint="one directory for each log's backup"
        )
    if held.end > standing.end:
        raise _differs(target, "a newer state of the log: this one was restored, or is a copy")
    for number, header in held.headers.items():
        if number in standing.headers and standing.headers[number] != header:
            raise _differs(target, f"another segment {number}")
    last, size = held.end.segment, held.end.offset
    now = expanded(left[last], archived) if last in left else read(standing.path(last), size)
    if last in {*left, *standing.headers} and _beginning(now, size) != _beginning(read(held.path(last)), size):
        raise _differs(target, f"other records in segment {last}")
    return held


def _beginning(parts: Iterator[bytes], size: int) -> bytes:
    """SHA-256 of the first `size` bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part[:size])
        size -= min(size, len(part))
        if not size:
            break
    return digest.digest()


def _differs(target: Path, what: str) -> Invalid:
    return Invalid(
        f"{target} holds {what}; nothing was changed",
        reason="BACKUP_DIFFERS",
        hint="keep this backup and begin one in another directory; then find out which history is right: compare both "
        "with a witness or a published checkpoint (`sealpress log verify --older`); see daemon/DAMAGED-LOG.md",
    )


def _published(directory: Path) -> bytes | None:
    """The checkpoint file, whatever it holds; None: there is none."""
    path = directory / checkpoint.NAME
    return b"".join(read(path, checkpoint.BYTES_MAX + 1)) if path.exists() else None


def _copy_rest(source: Path, target: Path, published: bytes | None) -> None:
    """The published checkpoint, the copies of torn tails, and the list of what was archived."""
    if published is not None:
        put(target / checkpoint.NAME, iter([published]))
    names = [f"journal/{LIST}"]
    names += [f"broken/{path.name}" for path in sorted((source / "broken").glob("*")) if path.is_file()]
    make_directory(target / "broken")
    for name in names:
        path, place = source / name, target / name
        if path.exists() and not (place.exists() and name.startswith("broken/")):
            put(place, read(path))


def _verified(directory: Path, name: str, number: int, progress: Progress | None, archived: Path | None) -> Report:
    with reading(directory, archived) as files:
        report = check_log(directory, name, number, progress=progress, files=files)
    bad = report.bad or report.tail
    if bad is not None:
        raise Damaged(
            f"{directory}: segment {bad.where.segment}, offset {bad.where.offset}: {bad.message}",
            reason="COPY_DAMAGED",
            hint="run `sealpress log verify` on the log itself: if it holds, this copy's disk is to blame, use another "
            "place; if not, keep both and see daemon/DAMAGED-LOG.md",
        )
    return report
