"""`sealpress policy`: check a policy file, see what it changes, try it on what is recorded, propose it.

Guarantees: `validate`, and `diff` of two files, need no daemon; what loosens is marked, since it takes the root quorum.
Does not: put anything in force: approvals do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli.governing import Reason, Risk, Rollback, Ticket, connected, day, plain, read, tell_change
from sealpress.cli.output import REFUSED, ClientFile, JsonFlag, emit, printable, reporting, say
from sealpress.client.control import Texts
from sealpress.errors import SealpressError
from sealpress.governance import changes as c
from sealpress.governance import lint
from sealpress.governance.diff import diff as difference
from sealpress.governance.policy import compile_policy
from sealpress.verify.change import encode

PolicyFile = Annotated[Path, typer.Argument(help="policy.toml")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The policy: validate, diff, simulate, propose, show.", no_args_is_help=True)
    for command in (validate, diff, simulate, propose, show):
        group.command(command.__name__)(command)
    app.add_typer(group, name="policy")


def validate(policy: PolicyFile, as_json: JsonFlag = False) -> None:
    """Say what is wrong with a file; exit 1 for errors, not for warnings."""
    with reporting(as_json=as_json):
        body = read(policy, "policy")
        try:
            found = lint.lint(compile_policy(body, str(policy)))
            findings = [{"level": one.level, "where": one.where, "code": one.code, "text": one.text} for one in found]
        except SealpressError as error:
            text = error.message + (f" ({error.hint})" if error.hint else "")
            findings = [{"level": "error", "where": str(policy), "code": error.reason, "text": text}]
        errors = sum(one["level"] == "error" for one in findings)
        if as_json:
            emit({"ok": not errors, "findings": findings})
        for one in findings if not as_json else ():
            say(f"{one['level']:8}{one['code']:20}{printable(one['where'])}: {printable(one['text'])}")
        if not as_json:
            say(f"{errors} errors, {len(findings) - errors} warnings")
        if errors:
            raise typer.Exit(REFUSED)


def diff(
    policy: PolicyFile,
    old: Annotated[Path | None, typer.Argument(help="Compare with this file; default: the policy in force.")] = None,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """What a file changes by meaning: who gains and loses what, and whether that takes the root quorum."""
    with reporting(as_json=as_json):
        body = read(policy, "policy")
        if old is not None:
            before = compile_policy(read(old, "policy"), str(old))
            found: list[Any] = difference(before, compile_policy(body, str(policy)))
            _tell_diff(found, as_json=as_json)
            return
    with connected(client, as_json=as_json) as daemon:
        _tell_diff(daemon.diff_policy(body), as_json=as_json)


def simulate(
    policy: PolicyFile,
    log: Annotated[str, typer.Option("--log", help="Log id; default: all.")] = "",
    from_seq: Annotated[int, typer.Option("--from", min=0, max=(1 << 64) - 1, help="First sequence number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=0, max=100_000, help="At most so many; 0: 10,000.")] = 0,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Which recorded requests a file would have decided otherwise."""
    with connected(client, as_json=as_json) as daemon:
        found = daemon.simulate(read(policy, "policy"), log, from_seq, limit)
        if as_json:
            emit(plain(found))
            return
        for one in found.changed:
            say(f"{one.log} seq {one.seq}: {printable(one.identity)} on {one.line}: {one.before} → {one.after}")
        say(f"{len(found.changed)} of {found.events} would have been decided otherwise"
            + (", and there are more" if found.truncated else ""))  # fmt: skip


def propose(
    policy: PolicyFile,
    reason: Reason,
    risk: Risk = "",
    rollback: Rollback = "",
    ticket: Ticket = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a file; loosening takes the root quorum."""
    with connected(client, as_json=as_json) as daemon:
        text = read(policy, "policy").decode("utf-8", "replace")
        request = encode(c.PolicyRequest(policy=text))
        tell_change(daemon.propose("policy.change", request, Texts(reason, risk, rollback, ticket)), as_json=as_json)


def show(client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Print the policy in force."""
    with connected(client, as_json=as_json) as daemon:
        found = daemon.policy()
        if as_json:
            emit(plain(found))
            return
        sys.stdout.write(found.policy.decode())
        for one in found.scheduled:
            sys.stderr.write(f"scheduled: {one.sha256.hex()} from {day(one.effective)} on (change {one.change_id})\n")


def _tell_diff(found: list[Any], *, as_json: bool) -> None:
    if as_json:
        emit({"differences": [{"line": one.line, "text": one.text, "loosening": one.loosening} for one in found]})
        return
    for one in found:
        say(f"{'! LOOSENING  ' if one.loosening else '  '}{printable(one.text)}")
    loosening = sum(one.loosening for one in found)
    say(f"{len(found)} differences, {loosening} of them loosen" + (": the root quorum decides" if loosening else ""))
