"""Moves old sealed segments out of the journal, compressed, and knows what a log without them lacks.

    <archive>/<number, 20 digits>.seg.gz   one segment, readable with gunzip
    journal/archived.json                  what was moved, in order from segment 0: see `Archived`

gzip, because the standard library and every machine have it; the digests in a segment do not compress at all, the zeros
behind them and the heads do. A segment is moved only if it is sealed and durable, follows from its neighbours, is older
than every request id that must still be known, and nothing that a start reads stands in it. The tree keeps all its
leaves, so proofs of archived leaves are still made, and the log goes on counting.

Guarantees: a segment leaves the journal after its archived copy was synced and read back, and the list that names it is
durable; killed anywhere, each segment is in the journal, in the archive, or in both, and the next run puts it right;
none leaves while somebody reads the whole log or copies it.
What is archived is bound by the header of the first segment that stays: its root and chain. Does not: run without the
archive where everything must be read (verify, a tree made anew): then it says which segments it needs.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import tempfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import msgspec

from sealpress.core.names import sync_directory
from sealpress.core.segment import segment_name
from sealpress.errors import CannotStart, Damaged, Invalid
from sealpress.tlog import check, entry, index
from sealpress.tlog.reader import begins_behind
from sealpress.tlog.record import NANOSECONDS, from_frame
from sealpress.tlog.standing import CHUNK, Standing, frames, look, make_directory, no_use, put, read, segments
from sealpress.values import RecordType

NAME = "archived.json"
KEEP_MIN = 1  # sealed segments beside the active one: a start compares the last two
OUTCOME_S = 600  # how long after a request its outcome may come, and then some
LEVEL = 6


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One archived segment, as its header and bytes were; hashes in hex."""

    number: int
    first_seq: int
    tree_size: int  # where it begins, as root and chain
    root: str
    chain: str
    created_ns: int
    segment_bytes: int
    sha256: str  # of the segment's bytes, not of the compressed file
    where: str  # the archive directory, as it was called then


class Archived(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`journal/archived.json`."""

    schema: int = 1
    name: str
    log_number: int
    sealed_size: int  # the largest head that an archived OUTCOME shows as signed
    governed: bool  # records of a governed node are among them
    parts: tuple[Part, ...]  # segments 0, 1, 2, …


def listed(directory: Path) -> Archived | None:
    """What was moved out of this log; None: nothing. Damaged ARCHIVE_LIST; CannotStart where we may not read it."""
    path = directory / "journal" / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Archived)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise no_use(path, error) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _list_damaged(path, str(error)) from error
    if [part.number for part in found.parts] != list(range(len(found.parts))) or found.schema != 1:
        raise _list_damaged(path, "it does not list segments 0, 1, 2, …")
    return found


def missing(directory: Path, first: int) -> list[int]:
    """Which of the segments before `first` are neither here nor archived."""
    archived = listed(directory)
    return list(range(len(archived.parts) if archived is not None else 0, first))


def identity(directory: Path) -> tuple[str, int]:
    """Name and number of a log, though segment 0 may be archived. Invalid LOG_MISSING."""
    archived = listed(directory)
    return (archived.name, archived.log_number) if archived is not None else check.identity(directory)


def needed(directory: Path, first: int, why: str) -> CannotStart:
    """A start without the archived segments before `first` is not possible."""
    return CannotStart(
        f"{directory}: the archived segments 0 to {first - 1} are needed: {why}",
        reason="LOG_ARCHIVED",
        hint="bring them back with `sealpress log unarchive`, then start again",
    )


# ---- archive ---------------------------------------------------------------------------------------------------------


def archive(
    directory: Path, to: Path, *, keep: int, older_s: int, window_s: int, now_s: int, needed_from: int | None = None
) -> list[Part]:
    """Move sealed segments into `to`, but the `keep` newest and those with a record younger than `older_s`; what moved.

    `window_s` is [idempotency] window_s. `needed_from`: the first segment that a governed node's start reads; None: the
    caller does not know, and segments of a governed node are refused with Invalid GOVERNED.
    """
    with alone(directory):
        standing = look(directory)
        name, number = identity(directory)
        archived = listed(directory) or Archived(name=name, log_number=number, sealed_size=0, governed=False, parts=())
        if missing(directory, min(standing.headers)):
            raise Damaged(
                f"{directory}: segments before {min(standing.headers)} are neither here nor archived",
                reason="LOG_DAMAGED",
                hint="run `sealpress log verify`; daemon/DAMAGED-LOG.md says what to do",
            )
        make_directory(to)
        archived = _again(standing, archived, to)
        moved: list[Part] = []
        until_ns = (now_s - max(older_s, window_s)) * NANOSECONDS
        for segment in _old(standing, keep, until_ns, needed_from):
            if segment < len(archived.parts):
                continue
            sealed_size, governed = _inspect(standing, segment)
            if governed and needed_from is None:
                raise _governed(directory)
            part = _copy(standing, segment, to)
            # Derived, and of no use without the segment: on a full disk the list is written to its blocks.
            index.path_of(directory, segment).unlink(missing_ok=True)
            archived = msgspec.structs.replace(
                archived,
                sealed_size=max(archived.sealed_size, sealed_size),
                governed=archived.governed or governed,
                parts=(*archived.parts, part),
            )
            _write_list(directory, archived)
            # Killed here: it is in both places, and the next run removes it from the journal.
            _remove(standing, (part,))
            moved.append(part)
        return moved


def bring_back(directory: Path, source: Path | None = None) -> list[int]:
    """Put every archived segment back into the journal, from `source` or from where it went; the daemon must not run.

    Invalid ARCHIVE_MISSING or ARCHIVE_DAMAGED.
    """
    with alone(directory):
        archived = listed(directory)
        if archived is None:
            return []
        for part in reversed(archived.parts):  # so that what stands in the journal has no hole at any time
            target = directory / "journal" / segment_name(part.number)
            if not target.exists():
                put(target, expanded(part, source))
        (directory / "journal" / NAME).unlink()
        sync_directory(directory / "journal")
        return [part.number for part in archived.parts]


@contextmanager
def whole(directory: Path, source: Path | None = None, from_seq: int = 0) -> Iterator[Path]:
    """A directory in which the whole log can be read: the log's own, or links to it beside expanded segments.

    With `from_seq` without archived segments that end before it. It takes as much room below TMPDIR as those had that
    it needs. Errors as of `bring_back`.
    """
    with unmoved(directory):
        archived = listed(directory)
        absent = [part for part in archived.parts if not _here(directory, part)] if archived is not None else []
        absent = absent[max(0, bisect_right(absent, from_seq, key=lambda part: part.first_seq) - 1) :]
        if not absent or any(not begins_behind(path, from_seq) for path in segments(directory)[:1]):
            yield directory
            return
        yield from _view(directory, absent, source)


@contextmanager
def reading(directory: Path, source: Path | None = None) -> Iterator[check.Files]:
    """The whole log for one who reads each segment once: archived ones are expanded when it is their turn.

    It takes as much room below TMPDIR as one segment. Errors as of `bring_back`, but at that moment.
    """
    with unmoved(directory):
        archived = listed(directory)
        absent = [part for part in archived.parts if not _here(directory, part)] if archived is not None else []
        there = check.standing_files(directory)
        size = there.bytes + sum(part.segment_bytes for part in absent)
        with closing(_each({part.number: part for part in absent}, there.paths, source)) as paths:
            yield check.Files(paths, size)


def _each(absent: Mapping[int, Part], there: Iterable[Path], source: Path | None) -> Generator[Path, None, None]:
    here = {int(path.stem): path for path in there}
    for number in sorted({*absent, *here}):
        if number in here:
            yield here[number]
            continue
        with tempfile.TemporaryDirectory(prefix="sealpress-log-") as place:
            target = Path(place) / segment_name(number)
            put(target, expanded(absent[number], source))
            yield target


@contextmanager
def unmoved(directory: Path) -> Iterator[None]:
    """No segment moves for so long: waits for who moves some, and lets nobody begin. Anybody may read beside us."""
    with ExitStack() as stack:
        with suppress(OSError):  # no log, or a file system that knows no locks: who reads it finds out, or is lucky
            handle = os.open(directory / "journal", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(directory: Path) -> Iterator[Callable[[], None]]:
    """One at a time; the daemon, which holds another lock, may run. What is given, once called, lets others read."""
    try:
        handle = os.open(directory / "journal", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Invalid(f"{directory}: no log stands here", reason="LOG_MISSING") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(
                f"{directory}: it is being verified, copied or archived at the moment",
                reason="LOG_IN_USE",
                hint="wait for that",
            ) from error
        except OSError:  # a file system that knows no such locks, as of `unmoved`
            yield lambda: None
        else:
            yield lambda: fcntl.flock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


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


def _again(standing: Standing, archived: Archived, to: Path) -> Archived:
    """What is listed and stands in the journal all the same: we were killed in between, or the log was restored.

    A backup may outlive the archive, so nothing goes before it is in `to`.
    """
    here = {part.number: _copy(standing, part.number, to) for part in archived.parts if _here(standing.directory, part)}
    for part in archived.parts:
        if part.number in here and here[part.number].sha256 != part.sha256:
            raise Damaged(
                f"{standing.path(part.number)}: it is not the segment that was archived; nothing was moved",
                reason="LOG_DAMAGED",
                hint="run `sealpress log verify`; daemon/DAMAGED-LOG.md says what to do",
            )
    parts = tuple(here.get(part.number, part) for part in archived.parts)
    if parts != archived.parts:  # they are elsewhere now
        archived = msgspec.structs.replace(archived, parts=parts)
        _write_list(standing.directory, archived)
    _remove(standing, archived.parts)
    return archived


def _old(standing: Standing, keep: int, until_ns: int, needed_from: int | None) -> Iterator[int]:
    """Segments that may go, lowest first: everything in them is older than the first record of the next one."""
    sealed = standing.sealed
    for number in sealed[: max(0, len(sealed) - max(keep, KEEP_MIN))]:
        if standing.headers[number + 1].created_ns > until_ns or (needed_from is not None and number >= needed_from):
            return
        yield number


def _inspect(standing: Standing, number: int) -> tuple[int, bool]:
    """Largest signed head in a segment, and whether a governed node wrote it. Damaged unless it leads to the next."""
    sealed_size, governed, last = 0, False, None
    for frame in frames(standing.path(number)):
        if frame.type == RecordType.COMMIT:
            last = entry.decode_commit(frame.head)
            continue
        if frame.type in (RecordType.SEAL, RecordType.RECOVERY):
            continue
        event = from_frame(number, frame).head.event
        governed = governed or bool(getattr(event, "profile", ""))
        if isinstance(event, entry.OutcomeEvent) and (event.checkpoint or any(event.signatures)):
            sealed_size = max(sealed_size, event.tree_size)
    following = standing.headers[number + 1]
    ends = (last.tree_size, last.root, last.chain) if last is not None else None
    if ends != (following.tree_size, following.root, following.chain):
        raise Damaged(
            f"{standing.path(number)}: its last COMMIT does not lead to the next segment; nothing was moved",
            reason="LOG_DAMAGED",
            hint="run `sealpress log verify`; daemon/DAMAGED-LOG.md says what to do",
        )
    return sealed_size, governed


def _copy(standing: Standing, number: int, to: Path) -> Part:
    header = standing.headers[number]
    digest = hashlib.sha256()
    for chunk in read(standing.path(number)):
        digest.update(chunk)
    part = Part(
        number=number,
        first_seq=header.first_seq,
        tree_size=header.tree_size,
        root=header.root.hex(),
        chain=header.chain.hex(),
        created_ns=header.created_ns,
        segment_bytes=header.segment_bytes,
        sha256=digest.hexdigest(),
        where=str(to.resolve()),
    )
    target = to / _file_name(part)
    there = target.exists()
    if not there:
        put(target, _compressed(standing.path(number)))
    try:
        for _ in expanded(part, to):
            pass  # read back: only what comes out again as it went in may leave the journal
    except Invalid as error:
        if not there:
            raise
        raise Invalid(
            f"{target}: a segment of another log, or a damaged one, is kept there; segment {number} was not moved",
            reason="ARCHIVE_OTHER",
            hint="give a directory for each log with --to",
        ) from error
    return part


def _compressed(path: Path) -> Iterator[bytes]:
    """The file as one gzip member without name and time, so that the same segment gives the same bytes."""
    with tempfile.TemporaryFile() as file:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=file, mtime=0) as packed:
            for chunk in read(path):
                packed.write(chunk)
        file.seek(0)
        while chunk := file.read(CHUNK):
            yield chunk


def expanded(part: Part, source: Path | None) -> Iterator[bytes]:
    """The bytes of an archived segment. Invalid unless they are those that were archived."""
    path = (source if source is not None else Path(part.where)) / _file_name(part)
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(path, "rb") as file:
            while size <= part.segment_bytes and (chunk := file.read(CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise Invalid(
            f"{path}: archived segment {part.number} is not there",
            reason="ARCHIVE_MISSING",
            hint="name the directory that holds it with --archive",
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _part_damaged(path, str(error)) from error
    if digest.hexdigest() != part.sha256:
        raise _part_damaged(path, "it is not what was archived")


def _remove(standing: Standing, parts: Sequence[Part]) -> None:
    """Take listed segments out of the journal, lowest first, and what was derived from them."""
    for part in parts:
        standing.path(part.number).unlink(missing_ok=True)
        index.path_of(standing.directory, part.number).unlink(missing_ok=True)
    sync_directory(standing.directory / "journal")


def _write_list(directory: Path, archived: Archived) -> None:
    put(directory / "journal" / NAME, iter([msgspec.json.format(msgspec.json.encode(archived), indent=1) + b"\n"]))


def _here(directory: Path, part: Part) -> bool:
    return (directory / "journal" / segment_name(part.number)).exists()


def _file_name(part: Part) -> str:
    return f"{segment_name(part.number)}.gz"


def _governed(directory: Path) -> Invalid:
    return Invalid(
        f"{directory}: a governed node wrote this log, and what its start needs of it is not known here",
        reason="GOVERNED",
        hint="give the governance log's directory with --governance (it must hold a snapshot: stop the daemon once)",
    )


def _list_damaged(path: Path, what: str) -> Damaged:
    return Damaged(
        f"{path}: {what}",
        reason="ARCHIVE_LIST",
        hint="it says what was moved out of the log: take it from a backup (`sealpress log backup` keeps it)",
    )


def _part_damaged(path: Path, what: str) -> Invalid:
    return Invalid(
        f"{path}: {what}", reason="ARCHIVE_DAMAGED", hint="take it from another copy of the archive, or from a backup"
    )
