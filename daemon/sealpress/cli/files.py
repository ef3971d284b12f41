"""Files of the command line: which ones are meant, their digests, and writing an answer beside them.

Guarantees: hashing is done in C, several files at once; a written file is whole or absent. Does not: sign or verify.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sealpress.core.digests import digest_file
from sealpress.errors import ConfigError
from sealpress.values import DigestAlgorithm

ANSWERS = (".tlog-proof", ".sig")
_LIST_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128}) [ *](.+)")
_BY_HEX_SIZE = {2 * algorithm.size: algorithm for algorithm in DigestAlgorithm}
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True, slots=True)
class Hashed:
    """An artifact and its digest; `path` is where its answer belongs beside."""

    path: Path
    algorithm: DigestAlgorithm
    digest: bytes
    size: int


def meant(paths: Iterable[Path]) -> list[Path]:
    """Files given, and files below directories given, without answers of ours; ConfigError for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = (Path(folder) / name for folder, _, names in os.walk(path) for name in sorted(names))
            found.extend(file for file in below if file.is_file() and file.suffix not in ANSWERS)
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigError(f"{path}: no such file", hint="give files or directories")
    return list(dict.fromkeys(found))


def hash_files(
    paths: Sequence[Path], algorithm: DigestAlgorithm, done: Callable[[int], None] | None = None
) -> Iterator[Hashed]:
    """Digests in the order of the paths; `done` is told the bytes of each file that is finished."""

    def one(path: Path) -> Hashed:
        try:
            digest, size = digest_file(algorithm, path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", hint="give files that can be read") from error
        return Hashed(path, algorithm, digest, size)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for hashed in pool.map(one, paths):
            if done is not None:
                done(hashed.size)
            yield hashed


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
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="a file in the format of sha256sum") from error
    found = []
    for number, line in enumerate(lines, 1):
        match = _LIST_LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{path}, line {number}: not `<hex digest>  <name>`", hint="as sha256sum writes it")
        escaped, hexadecimal, name = match.groups()
        if escaped:
            name = re.sub(r"\\[\\nr]", lambda found: _ESCAPES[found.group()], name)
        found.append(Hashed(Path(name), _BY_HEX_SIZE[len(hexadecimal)], bytes.fromhex(hexadecimal), 0))
    return found


def answer_path(path: Path, suffix: str, output: Path | None) -> Path:
    """Where the answer for `path` goes: beside it, or under `output` with the path's own folders kept."""
    if output is None:
        return path.with_name(path.name + suffix)
    inside = Path(*[part for part in path.parts if part not in ("..", ".", path.anchor)])
    return output / inside.with_name(inside.name + suffix)


def write_whole(path: Path, content: bytes) -> None:
    """Through a temporary file and a rename: nobody ever sees half an answer. ConfigError if it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="choose a directory with --output DIR") from error
