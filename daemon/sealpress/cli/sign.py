"""`sealpress sign`: hash locally, ask in batches, check every answer, then write it beside the file.

Guarantees: no file is written whose content did not verify against the digest computed here; memory does not grow with
the size of files. Does not: send any content of a file; look at a file again: one that changes after it was read keeps
the proof of what it was, and `verify` says so. Of more than 10,000 files the first are signed while the rest is hashed,
so a file that cannot be read stops the command when others are signed already; a second run signs all of them again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealpress.cli import answers, files
from sealpress.cli.files import Hashed, Hashing
from sealpress.cli.output import ClientFile, JsonFlag, Paths, emit, named_path, printable, reporting, say
from sealpress.errors import ConfigError, NotPermitted
from sealpress.values import DigestAlgorithm, Mode

if TYPE_CHECKING:
    from sealpress.client import Client, SignedBatch

BATCH_ITEMS = 10_000
NAME_BYTES_MAX = 1_024
SHOWN = 20  # files, to people


@dataclass(frozen=True, slots=True)
class Act:
    """How everything of one command is signed, and where the answers go."""

    line: str
    algorithm: DigestAlgorithm
    output: Path | None
    grant: str
    security_version: int


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sign")(sign)


def sign(
    paths: Paths = None,
    client: ClientFile = None,
    key: Annotated[str | None, typer.Option("--key", help="Line to sign with; default: `line` of client.toml")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write answers below this directory.", parser=named_path)
    ] = None,
    digest: Annotated[list[str] | None, typer.Option("--digest", help="ALGORITHM:HEX instead of a file.")] = None,
    digests_file: Annotated[Path | None, typer.Option("--digests-file", help="List as sha256sum writes it.")] = None,
    grant: Annotated[str, typer.Option("--grant", help="Sign under this grant.")] = "",
    security_version: Annotated[
        int, typer.Option("--security-version", min=0, max=0xFFFF_FFFF, help="Anti-rollback counter in each leaf.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Hash and show; ask nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Sign files (or digests) with a line's key; writes PATH.tlog-proof or PATH.sig."""
    with reporting(as_json=as_json):
        given = [files.parse_digest(text) for text in digest or []]
        if digests_file is not None:
            given += files.parse_digests_file(digests_file)
        given = list(dict.fromkeys(given))
        found = files.meant(paths or [])
        found = answers.once(found) if output is None else found  # where each name has an answer of its own
        if not found and not given:
            raise ConfigError("nothing to sign", hint="give PATH…, --digest or --digests-file")
        if output is not None or given:
            answers.check_apart([*found, *(item.path for item in given)], output)
        with files.Hashing(found, given[0].algorithm if given else DigestAlgorithm.SHA256) as hashing:
            from sealpress.client import Client, load_client  # takes its time, in which files are hashed

            with Client(load_client(client)) as daemon:
                line = key or daemon.config.line
                hashing.use(_algorithm(daemon, line, given))
                parts = _parts(hashing, found, given, quiet=as_json)
                act = Act(line, hashing.algorithm, output, grant, security_version)
                results = (_shown(item) for part in parts for item in part) if dry_run else _sign(daemon, act, parts)
                if as_json:
                    emit({"line": line, "dry_run": dry_run, "files": list(results)})
                else:
                    _tell(line, results, dry_run=dry_run)


def _algorithm(daemon: Client, line: str, given: list[Hashed]) -> DigestAlgorithm:
    """One for the whole call: that of the digests given, else the line's first."""
    chosen = {item.algorithm for item in given}
    if len(chosen) > 1:
        raise ConfigError("digests of several algorithms in one call", hint="sign them in separate calls")
    if chosen:
        return chosen.pop()
    try:
        return next(iter(daemon.key(line).algorithms), DigestAlgorithm.SHA256)
    except NotPermitted:
        return DigestAlgorithm.SHA256  # we may not even look; asking to sign is what gets recorded


def _parts(hashing: Hashing, found: list[Path], given: list[Hashed], *, quiet: bool) -> Iterator[list[Hashed]]:
    """What one call signs: files as they are hashed, then the digests given."""
    with _progress(found, quiet=quiet or not sys.stderr.isatty()) as done:
        yield from hashing.parts(BATCH_ITEMS, done)
    for start in range(0, len(given), BATCH_ITEMS):
        yield given[start : start + BATCH_ITEMS]


@contextmanager
def _progress(found: list[Path], *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar on a terminal."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("hashing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("hashing", total=sum(map(_size, found)))
        yield lambda done: progress.update(task, completed=done)


def _size(path: Path) -> int:
    with suppress(OSError):  # gone, or closed to us: hashing says so
        return path.stat().st_size
    return 0


def _shown(item: Hashed) -> dict[str, Any]:
    return {"path": files.told(item.path), "digest": f"{item.algorithm.label}:{item.digest.hex()}", "size": item.size}


def _sign(daemon: Client, act: Act, parts: Iterator[list[Hashed]]) -> Iterator[dict[str, Any]]:
    """Ask part by part; the answers of one are written while the next is hashed and asked for."""
    with ThreadPoolExecutor(1) as writer:
        writing: Future[list[dict[str, Any]]] | None = None
        for part in parts:
            suffix = ".tlog-proof" if daemon.key(act.line).mode is Mode.PROOF else ".sig"
            targets = [answers.answer_path(item.path, suffix, act.output) for item in part]
            answers.check_room(targets)
            answer = daemon.sign_batch(
                b"".join([item.digest for item in part]),
                act.algorithm,
                line=act.line,
                names=tuple(_name(item.path) for item in part),
                sizes=tuple(item.size for item in part),
                grant_id=act.grant,
                security_version=act.security_version,
            )
            former, writing = writing, writer.submit(_write, act, part, targets, answer)
            if former is not None:
                yield from former.result()
        if writing is not None:
            yield from writing.result()


def _write(act: Act, part: list[Hashed], targets: list[Path], answer: SignedBatch) -> list[dict[str, Any]]:
    """Each answer beside its file."""
    answers.write_all(targets, answer.documents)
    label = act.algorithm.label
    return [
        {
            "path": files.told(item.path),
            "written": files.told(target),
            "digest": f"{label}:{item.digest.hex()}",
            "leaf_index": answer.first_leaf_index + position,
            "event_id": answer.event_id,
            "sha256": hashlib.sha256(document).hexdigest(),
        }
        for position, (item, target, document) in enumerate(zip(part, targets, answer.documents, strict=True))
    ]


def _name(path: Path) -> str:
    """What the log is told: the file's name as given, printable in UTF-8, or as much of its end as the log takes."""
    return str(path).encode("utf-8", "replace")[-NAME_BYTES_MAX:].decode("utf-8", "ignore")


def _tell(line: str, results: Iterator[dict[str, Any]], *, dry_run: bool) -> None:
    """For people: each that would be signed, or the first that were when all are; the others are only counted."""
    if dry_run:
        count = 0
        for count, result in enumerate(results, 1):  # noqa: B007 - how many there were
            say(f"{result['digest']}  {printable(result['path'])}")
        say(f"{count} would be signed with {line}; nothing was asked")
        return
    first = [printable(result["written"]) for result in islice(results, SHOWN)]
    more = sum(1 for _ in results)
    for written in first:
        say(written)
    if more:
        say(f"… and {more} more")
    say(f"{len(first) + more} signed with {line}")
