"""`sealpress sign`: hash locally, ask in batches, check every answer, then write it beside the file.

Guarantees: no file is written whose content did not verify against the digest computed here; a second run after an
interruption asks again for what is missing. Does not: send any content of a file.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from sealpress.cli import files
from sealpress.cli.files import Hashed
from sealpress.cli.output import ClientFile, JsonFlag, emit, reporting, say
from sealpress.client import Client, load_client
from sealpress.errors import ConfigError, NotPermitted
from sealpress.values import DigestAlgorithm, Mode

BATCH_ITEMS = 10_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sign")(sign)


def sign(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or directories with all below.")] = None,
    client: ClientFile = None,
    key: Annotated[str | None, typer.Option("--key", help="Line to sign with; default: `line` of client.toml")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Write answers below this directory.")] = None,
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
        found = files.meant(paths or [])
        if not found and not given:
            raise ConfigError("nothing to sign", hint="give PATH…, --digest or --digests-file")
        with Client(load_client(client)) as daemon:
            line = key or daemon.config.line
            algorithm = _algorithm(daemon, line, given)
            items = [*_hash(found, algorithm, quiet=as_json), *given]
            results = (
                list(_dry(items))
                if dry_run
                else list(_sign(daemon, line, algorithm, items, output, grant, security_version))
            )
        if as_json:
            emit({"line": line, "dry_run": dry_run, "files": results})
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
        return daemon.key(line).algorithms[0]
    except NotPermitted:
        return DigestAlgorithm.SHA256  # we may not even look; asking to sign is what gets recorded


def _hash(found: list[Path], algorithm: DigestAlgorithm, *, quiet: bool) -> list[Hashed]:
    if quiet or not sys.stderr.isatty():
        return list(files.hash_files(found, algorithm))
    columns = (TextColumn("hashing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("hashing", total=sum(path.stat().st_size for path in found))
        return list(files.hash_files(found, algorithm, lambda size: progress.advance(task, size)))


def _dry(items: list[Hashed]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield {"path": str(item.path), "digest": f"{item.algorithm.label}:{item.digest.hex()}", "size": item.size}


def _sign(
    daemon: Client,
    line: str,
    algorithm: DigestAlgorithm,
    items: list[Hashed],
    output: Path | None,
    grant: str,
    security_version: int,
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(items), BATCH_ITEMS):
        part = items[start : start + BATCH_ITEMS]
        answer = daemon.sign_batch(
            b"".join(item.digest for item in part),
            algorithm,
            line=line,
            names=tuple(_name(item.path) for item in part),
            sizes=tuple(item.size for item in part),
            grant_id=grant,
            security_version=security_version,
        )
        suffix = ".tlog-proof" if daemon.key(line).mode is Mode.PROOF else ".sig"
        for position, (item, document) in enumerate(zip(part, answer.documents, strict=True)):
            target = files.answer_path(item.path, suffix, output)
            files.write_whole(target, document)
            yield {
                "path": str(item.path),
                "written": str(target),
                "digest": f"{algorithm.label}:{item.digest.hex()}",
                "leaf_index": answer.first_leaf_index + position,
                "event_id": answer.event_id,
                "sha256": hashlib.sha256(document).hexdigest(),
            }


def _name(path: Path) -> str:
    """What the log is told: the file's name as given, printable in UTF-8."""
    return str(path).encode("utf-8", "replace").decode()[-1024:]


def _tell(line: str, results: list[dict[str, Any]], *, dry_run: bool) -> None:
    if dry_run:
        for result in results:
            say(f"{result['digest']}  {result['path']}")
        say(f"{len(results)} would be signed with {line}; nothing was asked")
        return
    for result in results[:20]:
        say(result["written"])
    if len(results) > 20:
        say(f"… and {len(results) - 20} more")
    say(f"{len(results)} signed with {line}")
