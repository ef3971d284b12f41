"""`sealpress change`: what was proposed, by whom, who approved, and what became of it.

Guarantees: the text of a change is made here from its record's bytes, and its digest with it; strings of others are
shown escaped. Does not: approve (`sealpress approve`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli.answers import write_named
from sealpress.cli.governing import LineOption, Reason, connected, day, plain, table, tell_change
from sealpress.cli.key import bundle
from sealpress.cli.output import ClientFile, JsonFlag, emit, printable, say
from sealpress.errors import Invalid
from sealpress.governance.rendering import render
from sealpress.verify.change import ChangeRecord, decode

ITEMS_SHOWN = 50
ChangeId = Annotated[str, typer.Argument(help="The change's id.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Change records: list, show, withdraw, reject.", no_args_is_help=True)
    group.command("list")(list_changes)
    for command in (show, withdraw, reject):
        group.command(command.__name__)(command)
    app.add_typer(group, name="change")


def list_changes(
    line: LineOption = "",
    kind: Annotated[str, typer.Option("--kind", help="As key.issue")] = "",
    state: Annotated[str, typer.Option("--state", help="As in_review, approved, closed")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="At most so many.")] = 100,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Changes, the newest first."""
    with connected(client, as_json=as_json) as daemon:
        found = daemon.changes(line=line, kind=kind, state=state, limit=limit)
        if as_json:
            emit(plain(found))
            return
        rows = [
            (one.change_id, one.kind, one.state, one.line or "-", one.summary, one.missing or "-")
            for one in found.changes
        ]
        table(("change", "kind", "state", "line", "summary", "missing"), rows)


def show(
    change: ChangeId,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Write the change and its approvals for other verifiers.")
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Ask as an auditor.")] = False,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """One change: all of it, its approvals, and what became of it."""
    with connected(client, as_json=as_json) as daemon:
        found = (daemon.audited_change(change) if audit else daemon.change(change)).change
        record = checked(found)
        if evidence is not None:
            write_named(evidence, bundle(found))
        if as_json:
            emit(plain(found))
            return
        say(f"{found.kind} is {found.state}" + (f" ({printable(found.reason)})" if found.reason else ""))
        for one in found.approvals:
            say(f"  {one.state}: {one.person} with {one.credential}, as {', '.join(one.groups)}, "
                f"until {day(one.expires)}")  # fmt: skip
        if found.missing:
            say(f"  still missing: {printable(found.missing)}")
        if found.executor:
            say(f"  carried out by {found.executor}")
        if found.grant_id:
            say(f"  grant {found.grant_id}")
        say("")
        say(render(record, ITEMS_SHOWN).rstrip())


def withdraw(change: ChangeId, reason: Reason = "", client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Take back a change that we proposed, or our approval of another's."""
    with connected(client, as_json=as_json) as daemon:
        tell_change(daemon.withdraw(change, reason), as_json=as_json)


def reject(change: ChangeId, reason: Reason, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Say no; one who may approve is enough."""
    with connected(client, as_json=as_json) as daemon:
        tell_change(daemon.reject(change, reason), as_json=as_json)


def checked(change: Any) -> ChangeRecord:
    """The record, from its only bytes; Invalid if the daemon's digest is of something else."""
    record = decode(bytes(change.record), ChangeRecord)
    if hashlib.sha256(change.record).digest() != change.sha256 or record.change_id != change.change_id:
        raise Invalid(
            "the daemon's digest is not that of the change it shows",
            reason="ANSWER",
            hint="sign nothing; tell auditors",
        )
    return record
