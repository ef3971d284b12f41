"""`sealpress log backup | restore | archive | unarchive`: copies of a log, and segments that move out of it.

Guarantees: backup and archive run beside a daemon; each says what it did and leaves a log that `sealpress log verify`
accepts; an error names the file and what to do. Does not: touch the signer's state (see daemon/DAMAGED-LOG.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from sealpress.cli.output import JsonFlag, emit, named_path, reporting, say
from sealpress.errors import ConfigError
from sealpress.steps import _archive
from sealpress.tlog import archive as archiving
from sealpress.tlog import backup as backing
from sealpress.tlog.identity import identity
from sealpress.tlog.reader import LogReader
from sealpress.tlog.standing import look
from sealpress.wiring.today import now_s

DAY_S = 86_400
SNAPSHOT = Path("index") / "governance.snapshot"

Directory = Annotated[Path, typer.Argument(help="Directory of one log: <data>/<log>", parser=named_path)]
Archived = Annotated[Path | None, typer.Option("--archive", help="Where archived segments are now.", parser=named_path)]
Told = Callable[[int, int], None]


def backup(
    directory: Directory,
    target: Annotated[
        Path, typer.Argument(help="Where the copy stands; a later run adds what is new.", parser=named_path)
    ],
    archived: Archived = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy a log, also while its daemon runs, and verify the copy."""
    with reporting(as_json=as_json), progressing("verifying the copy") as told:
        made, copied = backing.backup(directory, target, told, archived)
        if as_json:
            emit({"segments_copied": copied, **msgspec.to_builtins(made)})
        else:
            say(f"{made.origin}: {made.tree_size} leaves, root {made.root}")
            say(f"{copied} segments copied to {target}; the copy holds")


def restore(
    source: Annotated[Path, typer.Argument(help="A backup.")],
    to: Annotated[Path, typer.Option("--to", help="The log directory to make: missing or empty.", parser=named_path)],
    archived: Archived = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a log directory of a backup, verified first; at its start the signer's mark says whether it is too old."""
    with reporting(as_json=as_json), progressing("verifying the backup") as told:
        report = backing.restore(source, to, told, archived)
        if as_json:
            emit({"origin": report.origin, "tree_size": report.tree_size, "root": report.root.hex()})
        else:
            say(f"{report.origin}: {report.tree_size} leaves restored to {to}")
            say("start the daemon: if the signer has signed more than this, it refuses with LOG_BEHIND_MARK")


def archive(
    directory: Directory,
    to: Annotated[
        Path, typer.Option("--to", help="Where archived segments go; another file system.", parser=named_path)
    ],
    older_than: Annotated[int | None, typer.Option("--older-than", min=0, help="Days: move what is older.")] = None,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Sealed segments that stay.")] = None,
    window_s: Annotated[int, typer.Option("--window-s", min=0, help="\\[idempotency] window_s of the daemon.")] = DAY_S,
    governance: Annotated[
        Path | None, typer.Option("--governance", help="Of a governed node: the governance log's directory.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Move old sealed segments out of a log, compressed; also while its daemon runs."""
    with reporting(as_json=as_json):
        if older_than is None and keep is None:
            raise ConfigError("say what may go", hint="give --older-than DAYS, --keep N, or both")
        moved = archiving.archive(
            directory,
            to,
            keep=keep or 0,
            older_s=(older_than or 0) * DAY_S,
            window_s=window_s,
            now_s=now_s(),
            needed_from=_needed_from(directory, governance) if governance is not None else None,
        )
        if as_json:
            emit({"moved": [msgspec.to_builtins(part) for part in moved]})
        elif moved:
            say(
                f"segments {moved[0].number} to {moved[-1].number} are in {to}; `sealpress log verify` reads them there"
            )
        else:
            say("nothing is old enough to go")


def unarchive(
    directory: Directory,
    source: Annotated[
        Path | None, typer.Option("--archive", help="Where they are now, if not where they went.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring every archived segment back into the log, whose daemon is stopped."""
    with reporting(as_json=as_json):
        back = archiving.bring_back(directory, source)
        if as_json:
            emit({"brought_back": back})
        else:
            say(f"{len(back)} segments are back in {directory}")


@contextmanager
def progressing(what: str) -> Iterator[Told]:
    """A bar on stderr, if that is a terminal."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield told


def _needed_from(directory: Path, governance: Path) -> int | None:
    """What a start of the governed node reads of this log."""
    log, chief = _reader(directory), _reader(governance)
    name, number = identity(directory)
    found = _archive.needed_from(governance / SNAPSHOT, chief, log, f"{name}/{number}")
    if found is None:
        raise ConfigError(
            f"{governance / SNAPSHOT}: no snapshot that its log speaks for",
            hint="stop the daemon once: it writes one when it ends",
        )
    return found


def _reader(directory: Path) -> LogReader:
    standing = look(directory)
    name, _ = identity(directory)
    reader = LogReader(directory.resolve(), name, standing.headers[standing.end.segment].log_id)
    reader.end = standing.end
    return reader
