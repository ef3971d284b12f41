"""Answers of the command line: where each belongs, whether it can be there, and writing it.

Guarantees: a written file is whole or absent, for who looks at it while we write. Does not: sign or verify; sync what
it writes: after a power cut, sign again.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from sealpress.errors import CannotStart, ConfigError, SealpressError
from sealpress.reading import open_regular

SUFFIXES = (".tlog-proof", ".sig")
_NO_PLACE = {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP,
    errno.ENAMETOOLONG,
}  # fmt: skip


def answer_path(path: Path, suffix: str, output: Path | None) -> Path:
    """Where the answer for `path` goes: beside it, or under `output` with the path's own folders kept."""
    if output is None:
        return path.with_name(path.name + suffix)
    inside = Path(*[part for part in path.parts if part not in ("..", ".", path.anchor)])
    return output / inside.with_name(inside.name + suffix)


def read_answer(path: Path, bytes_max: int) -> bytes:
    """As much of an answer; OSError, also for what is no regular file: a fifo would be waited for."""
    with open_regular(path) as file:
        return file.read(bytes_max)


def once(paths: Iterable[Path]) -> list[Path]:
    """Each file once, by its first name: `a` and `/where/we/are/a` are one, and their answer is in one place."""
    folders: dict[Path, str] = {}
    kept: dict[tuple[str, str], Path] = {}
    for path in paths:
        kept.setdefault(_place(path, folders), path)
    return list(kept.values())


def check_apart(paths: Iterable[Path], output: Path | None) -> None:
    """ConfigError if two would have one answer: `..` and `/` do not lead out of `output`; a list can name one twice."""
    owners: dict[tuple[str, str], Path] = {}
    folders: dict[Path, str] = {}
    for path in paths:
        answer = answer_path(path, "", output)
        place = _place(answer, folders)
        if place in owners:
            raise ConfigError(
                f"{owners[place]} and {path} would have one answer, beside {answer}",
                reason="ANSWERS_MEET",
                hint="sign them in two calls, each with its own --output",
            )
        owners[place] = path


def _place(path: Path, folders: dict[Path, str]) -> tuple[str, str]:
    """The same for every name of a file that leads to one entry of one folder; links are files of their own."""
    if path.parent not in folders:
        folders[path.parent] = os.path.realpath(path.parent)
    return folders[path.parent], path.name


def check_room(answers: Iterable[Path]) -> None:
    """ConfigError if one can have no place, as far as that shows before it is there: what is signed then is lost."""
    longest: dict[Path, int] = {}
    for path in answers:
        try:
            if path.parent not in longest:
                longest[path.parent] = _name_bytes_max(path.parent)
            if len(os.fsencode(path.name)) > longest[path.parent]:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        except OSError as error:
            raise _unwritten(path, error) from error


def _name_bytes_max(folder: Path) -> int:
    """Of a file that is made in this folder, or in that in which the folder will be; OSError if none can be."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, f"no file can be made in {folder}")
    known = os.pathconf(folder, "PC_NAME_MAX")
    return known if known > 0 else sys.maxsize  # where the file system does not say, writing will


def write_all(paths: Sequence[Path], contents: Sequence[bytes]) -> None:
    """Each as `write_whole` does; one that cannot be written holds up none of the others."""
    made: set[Path] = set()
    failed: SealpressError | None = None
    for path, content in zip(paths, contents, strict=True):
        try:
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            _replace(path, content)
        except OSError as error:
            failed = failed or _unwritten(path, error)
    if failed is not None:
        raise failed


def _unwritten(path: Path, error: OSError, hint: str = "choose a directory with --output DIR") -> SealpressError:
    """ConfigError for a place where no file can be, CannotStart SYSTEM for a disk that does not take it."""
    message = f"{path}: {error.strerror}"
    if error.errno in _NO_PLACE:
        return ConfigError(message, hint=hint)
    return CannotStart(message, reason="SYSTEM", hint="see to it, and try again")


def write_whole(path: Path, content: bytes) -> None:
    """Through a temporary file and a rename: nobody ever sees half an answer. Errors as of `_unwritten`."""
    write_all([path], [content])


def write_named(path: Path, content: bytes) -> None:
    """A document where somebody wants it: whole as an answer is, through links, and into what is no file at all."""
    try:
        if path.exists() and not path.is_file():  # a terminal or a pipe has no halves
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except OSError as error:
        raise _unwritten(path, error, "choose another place") from error


def _replace(path: Path, content: bytes) -> None:
    temporary, descriptor = _temporary(path)
    try:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - ten thousand times
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def _temporary(path: Path) -> tuple[str, int]:
    """A new file beside `path`: no other process has it, whatever its number, and its name is one of an answer."""
    for attempt in count():
        temporary = f"{path.parent}{os.sep}.{os.getpid()}-{attempt}{path.suffix}"
        try:
            return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
    raise AssertionError
