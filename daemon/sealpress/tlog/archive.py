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

import gzip
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from sealpress.core.names import sync_directory
from sealpress.core.segment import segment_name
from sealpress.errors import Damaged, Invalid
from sealpress.tlog import entry, index
from sealpress.tlog.archived import NAME, Archived, Part, expanded, file_name, here, listed, missing, write_list
from sealpress.tlog.identity import identity
from sealpress.tlog.record import NANOSECONDS, from_frame
from sealpress.tlog.standing import CHUNK, Standing, frames, look, make_directory, put, read
from sealpress.tlog.turns import alone
from sealpress.values import RecordType

KEEP_MIN = 1  # sealed segments beside the active one: a start compares the last two
LEVEL = 6


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
            write_list(directory, archived)
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


def _again(standing: Standing, archived: Archived, to: Path) -> Archived:
    """What is listed and stands in the journal all the same: we were killed in between, or the log was restored.

    A backup may outlive the archive, so nothing goes before it is in `to`.
    """
    copied = {
        part.number: _copy(standing, part.number, to) for part in archived.parts if here(standing.directory, part)
    }
    for part in archived.parts:
        if part.number in copied and copied[part.number].sha256 != part.sha256:
            raise Damaged(
                f"{standing.path(part.number)}: it is not the segment that was archived; nothing was moved",
                reason="LOG_DAMAGED",
                hint="run `sealpress log verify`; daemon/DAMAGED-LOG.md says what to do",
            )
    parts = tuple(copied.get(part.number, part) for part in archived.parts)
    if parts != archived.parts:  # they are elsewhere now
        archived = msgspec.structs.replace(archived, parts=parts)
        write_list(standing.directory, archived)
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
    target = to / file_name(part)
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


def _remove(standing: Standing, parts: Sequence[Part]) -> None:
    """Take listed segments out of the journal, lowest first, and what was derived from them."""
    for part in parts:
        standing.path(part.number).unlink(missing_ok=True)
        index.path_of(standing.directory, part.number).unlink(missing_ok=True)
    sync_directory(standing.directory / "journal")


def _governed(directory: Path) -> Invalid:
    return Invalid(
        f"{directory}: a governed node wrote this log, and what its start needs of it is not known here",
        reason="GOVERNED",
        hint="give the governance log's directory with --governance (it must hold a snapshot: stop the daemon once)",
    )
