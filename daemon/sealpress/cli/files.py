"""Files of the command line: which ones are meant, and their digests, made here or listed by others.

Guarantees: hashing is done in C, many files at once. Does not: sign, verify, or write.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sealpress.cli.answers import SUFFIXES
from sealpress.core.files import CHANGED, NO_FILE, FileDigests
from sealpress.errors import ConfigError
from sealpress.values import DigestAlgorithm

TICK_S = 0.1  # how often progress is told
_LIST_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128}) [ *](.+)")
_LIST_LINE_BYTES_MAX = 16 << 10  # an escaped path of the longest, and its digest
_BY_HEX_SIZE = {2 * algorithm.size: algorithm for algorithm in DigestAlgorithm}
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True, slots=True)
class Hashed:
    """An artifact and its digest; `path` is where its answer belongs beside."""

    path: Path
    algorithm: DigestAlgorithm
    digest: bytes
    size: int


def meant(paths: Iterable[Path], *, whole: bool = False) -> list[Path]:
    """Files given, and files below directories given, without answers of ours; ConfigError for what is not there.

    `whole`: also links to directories elsewhere, which are not followed: who verifies all would take theirs for good.
    """
    paths, found = list(paths), list[Path]()
    inside = [os.path.realpath(path) for path in paths] if whole else []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{path}: no such file", hint="give files or directories") from None
        except OSError as error:
            _, reason, hint = why_unhashed(error.errno or 0)
            raise ConfigError(f"{path}: {error.strerror}", reason=reason, hint=hint) from None
        if stat.S_ISDIR(mode):
            found.extend(_below(path, (lambda entry: _leads_out(entry, inside)) if whole else lambda _: False))
        else:  # also what is no regular file: hashing says so
            found.append(path)
    return list(dict.fromkeys(found))


def _below(top: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> Iterator[Path]:
    """Regular files below a directory, and what else is wanted; links to directories are not followed."""
    folders = [str(top)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}", hint="give directories that can be read") from error
        folders.extend(entry.path for entry in reversed(inside) if entry.is_dir(follow_symlinks=False))
        for entry in inside:
            if (not entry.name.endswith(SUFFIXES) and _is_file(entry)) or wanted(entry):
                yield Path(entry.path)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere, or to itself, is none; what cannot be looked at may be one: hashing says why."""
    try:
        return entry.is_file()
    except OSError as error:
        return error.errno != errno.ELOOP


def _leads_out(entry: os.DirEntry[str], inside: Sequence[str]) -> bool:
    """Whether it is a link to a directory that lies in none of these, and so is not looked at by its own name."""
    if not entry.is_symlink() or not os.path.isdir(entry.path):  # noqa: PTH112
        return False
    return not any(Path(os.path.realpath(entry.path)).is_relative_to(top) for top in inside)


class Hashing:
    """Files that are hashed while the caller does something else, and their digests in order as they come.

    Use as a context manager: leaving it stops what still runs.
    """

    def __init__(self, paths: Sequence[Path], algorithm: DigestAlgorithm) -> None:
        """Begins at once."""
        self.algorithm = algorithm
        self._paths = paths
        self._running = FileDigests(algorithm, paths)

    def use(self, algorithm: DigestAlgorithm) -> None:
        """The algorithm that is wanted: begins again if it is not the one it began with."""
        if algorithm is not self.algorithm:
            self._running.close()
            self.algorithm = algorithm
            self._running = FileDigests(algorithm, self._paths)

    def parts(self, items_max: int, done: Callable[[int], None] | None = None) -> Iterator[list[Hashed]]:
        """In order, `items_max` at a time; `done` is told every now and then how many bytes are hashed.

        ConfigError for the first file that cannot be hashed: FILE_MISSING, FILE_UNREADABLE, FILE_KIND, FILE_CHANGED.
        """
        running = self._running
        for start in range(0, len(self._paths), items_max):
            end = min(start + items_max, len(self._paths))
            finished = 0
            while finished < end:
                finished, total = running.wait(end, TICK_S)
                if done is not None:
                    done(total)
            yield [self._one(running, position) for position in range(start, end)]

    def _one(self, running: FileDigests, position: int) -> Hashed:
        path, error = self._paths[position], running.error(position)
        if error:
            text, reason, hint = why_unhashed(error)
            raise ConfigError(f"{path}: {text}", reason=reason, hint=hint)
        return Hashed(path, self.algorithm, running.digest(position), running.size(position))

    def close(self) -> None:
        """Stop."""
        self._running.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.close()


def why_unhashed(error: int) -> tuple[str, str, str]:
    """Why a file has no digest: text, reason code, and what to do."""
    if error == CHANGED:
        return "changed while it was read", "FILE_CHANGED", "try again when nobody writes to it any more"
    if error in NO_FILE:
        return "not a regular file", "FILE_KIND", "give files or directories; of other content give the --digest"
    if error in (errno.ENOENT, errno.ENOTDIR):
        return "no such file", "FILE_MISSING", "give files or directories"
    return os.strerror(error), "FILE_UNREADABLE", "give files that can be read"


def hash_files(paths: Sequence[Path], algorithm: DigestAlgorithm) -> list[Hashed]:
    """Digests in the order of the paths; errors as `Hashing.parts` raises them."""
    with Hashing(paths, algorithm) as hashing:
        return [hashed for part in hashing.parts(len(paths) or 1) for hashed in part]


def parse_digest(text: str) -> Hashed:
    """`sha256:<hex>` of --digest."""
    label, _, hexadecimal = text.partition(":")
    algorithm = DigestAlgorithm.parse(label)
    try:
        digest = bytes.fromhex(hexadecimal)
    except ValueError:
        digest = b""
    if len(digest) != algorithm.size:
        raise ConfigError(
            f"{text!r} is not a {label} digest", reason="DIGEST_LENGTH", hint=f"{2 * algorithm.size} hex digits"
        )
    return Hashed(Path(digest.hex()), algorithm, digest, 0)


def parse_digests_file(path: Path) -> list[Hashed]:
    """The format of sha256sum (and sha384sum, sha512sum), text and binary marks and escaped names included."""
    found = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                found.append(_listed(path, number, line))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="a file in the format of sha256sum") from error
    return found


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Each as far as a line can be long; of text, more would end one than sha256sum escapes."""
    while part := file.readline(_LIST_LINE_BYTES_MAX):
        yield from part.splitlines()


def _listed(path: Path, number: int, line: bytes) -> Hashed:
    match = _LIST_LINE.fullmatch(os.fsdecode(line))
    if match is None:
        raise ConfigError(f"{path}, line {number}: not `<hex digest>  <name>`", hint="as sha256sum writes it")
    escaped, hexadecimal, name = match.groups()
    if escaped:
        name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found.group()], name)
    if "\0" in name or Path(name).name in ("", ".."):
        raise ConfigError(f"{path}, line {number}: no file is called {name!a}", hint="as sha256sum writes it")
    return Hashed(Path(name), _BY_HEX_SIZE[len(hexadecimal)], bytes.fromhex(hexadecimal), 0)


def told(path: Path) -> str:
    """The path as text; each byte that is no UTF-8 as its backslash escape."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
