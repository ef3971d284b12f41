"""What was moved out of a log: the list of it in `journal/archived.json`, and the bytes of an archived segment.

Guarantees: bytes that come out to their end are those that went in. Does not: move anything (archive.py).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sealpress.core.segment import segment_name
from sealpress.errors import CannotStart, Damaged, Invalid
from sealpress.reading import read_whole
from sealpress.tlog.standing import CHUNK, no_use, put

NAME = "archived.json"
_LIST_BYTES_MAX = 256 << 20  # of half a million segments


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
        found = msgspec.json.decode(read_whole(path, _LIST_BYTES_MAX), type=Archived)
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


def needed(directory: Path, first: int, why: str) -> CannotStart:
    """A start without the archived segments before `first` is not possible."""
    return CannotStart(
        f"{directory}: the archived segments 0 to {first - 1} are needed: {why}",
        reason="LOG_ARCHIVED",
        hint="bring them back with `sealpress log unarchive`, then start again",
    )


def write_list(directory: Path, archived: Archived) -> None:
    """Durable when this returns."""
    put(directory / "journal" / NAME, iter([msgspec.json.format(msgspec.json.encode(archived), indent=1) + b"\n"]))


def here(directory: Path, part: Part) -> bool:
    """Whether an archived segment stands in the journal, too."""
    return (directory / "journal" / segment_name(part.number)).exists()


def file_name(part: Part) -> str:
    """Of an archived segment."""
    return f"{segment_name(part.number)}.gz"


def expanded(part: Part, source: Path | None) -> Iterator[bytes]:
    """The bytes of an archived segment. Invalid unless they are those that were archived."""
    path = (source if source is not None else Path(part.where)) / file_name(part)
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
