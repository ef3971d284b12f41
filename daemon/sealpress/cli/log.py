"""`sealpress log`: check or read a log directory, or ask a daemon about its log.

Guarantees: `verify` exits 3 with the first bad position; reading takes no lock and changes nothing; strings of
callers are shown escaped. Does not: repair.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sealpress.cli.files import parse_digest
from sealpress.cli.keeping import archive, backup, progressing, restore, unarchive
from sealpress.cli.output import DAMAGED, ClientFile, JsonFlag, emit, fail, followed, reporting, say
from sealpress.client import Client, load_client
from sealpress.core.proof import parse_note, parse_proof
from sealpress.errors import ConfigError, CoreError, Invalid
from sealpress.reading import read_named
from sealpress.tlog import explain as explaining
from sealpress.tlog.check import check_log
from sealpress.tlog.identity import identity
from sealpress.tlog.reader import committed
from sealpress.tlog.report import Report
from sealpress.tlog.whole import reading, whole
from sealpress.values import DigestAlgorithm
from sealpress.verify.policy import load_policy

Directory = Annotated[Path, typer.Argument(help="Directory of one log: <data>/<log>")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Check and read the log.", no_args_is_help=True)
    for command in (verify, show, checkpoint, explain, tail, backup, restore, archive, unarchive):
        group.command(command.__name__)(command)
    app.add_typer(group, name="log")


def verify(
    directory: Directory,
    older: Annotated[Path | None, typer.Option("--older", help="A checkpoint or proof kept from before.")] = None,
    trust: Annotated[list[Path] | None, typer.Option("--trust", help="tlog-policy whose keys to check with.")] = None,
    archived: Annotated[Path | None, typer.Option("--archive", help="Where archived segments are now.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a whole log: frames, chain, roots, leaves, tree files, signed heads; archived segments where they are.

    Also beside a running daemon: then up to its last COMMIT.
    """
    with reporting(as_json=as_json):
        policies = [load_policy(path) for path in trust or []]
        keys = [key.vkey for one in policies for key in one.logs.values()]
        keys += [key.vkey for one in policies for key in one.witnesses.values()]
        before = _read(older) if older is not None else None
        with progressing("checking") as told, reading(directory, archived) as files:
            name, number = identity(directory)
            if policies and not any(f"{name}/{number}" in one.logs for one in policies):
                raise Invalid(
                    f"{directory} holds the log {name}/{number}, of which no --trust speaks",
                    reason="ORIGIN",
                    hint="give the policy of a line of this log; without --trust no signature is checked",
                )
            report = check_log(
                directory, name, number, keys=keys, older=before, progress=told, measure=True, files=files
            )
        _tell_report(report, as_json=as_json)


def _read(path: Path) -> bytes:
    try:
        text = read_named(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="a checkpoint or a .tlog-proof") from error
    for parse in (parse_note, parse_proof):
        with suppress(CoreError):
            parse(text)
            return text
    raise ConfigError(f"{path}: not in the form of a signed checkpoint, nor of a proof", hint="give one as it was kept")


def _tell_report(report: Report, *, as_json: bool) -> None:
    bad = report.bad or report.tail
    if as_json:
        emit({"ok": report.ok, **_plain(report)})
    else:
        say(f"{report.origin}: {report.tree_size} leaves in {report.commits} commits, {report.segments} segments")
        say(f"root {report.root.hex()}")
        say(f"{report.heads} signed heads, {report.signatures} signatures checked, tree files: {report.tree_files}")
        if report.compressions:
            say(_rates(report))
    if report.ok:
        if not as_json:
            say("the log holds" + (", up to its last COMMIT: a daemon is writing it" if report.live else ""))
        return
    assert bad is not None
    if not as_json:
        seq = "" if bad.seq is None else f", seq {bad.seq}"
        where = f"segment {bad.where.segment}, offset {bad.where.offset}{seq}"
        torn = "the daemon's next start repairs it: a power cut leaves this"
        keep = "keep the directory as it is; compare with a copy or a witness before anything else"
        hint = (keep if report.bad else torn) + "; see daemon/DAMAGED-LOG.md"
        fail(Invalid(f"{where}: {bad.message}", reason=bad.reason, hint=hint), as_json=False, code=DAMAGED)
    raise typer.Exit(DAMAGED)


def _rates(report: Report) -> str:
    """How quick the pass was, and how quick SHA-256 alone is here: compressions a second of processor time."""
    ours, kernel = (report.compressions / max(ns, 1) * 1e3 for ns in (report.cpu_ns, report.kernel_ns))
    return (
        f"{report.compressions} SHA-256 compressions at {ours:.1f} M/s of one core; "
        f"the bare kernel does {kernel:.1f} M/s: {ours / kernel:.2f}; "
        f"{report.heads_cpu_ns / 1e6:.0f} ms more for signed heads"
    )


def _plain(report: Report) -> dict[str, Any]:
    """The report as JSON has it: bytes in hex."""
    told: dict[str, Any] = asdict(report)
    told["root"], told["chain"] = report.root.hex(), report.chain.hex()
    return told


def show(
    directory: Directory,
    from_seq: Annotated[int, typer.Option("--from", min=0, max=(1 << 64) - 1, help="First sequence number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=(1 << 63) - 1, help="At most so many records.")] = 100,
    archived: Annotated[Path | None, typer.Option("--archive", help="Where archived segments are now.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show records of a log directory, offline."""
    with reporting(as_json=as_json):
        with whole(directory, archived, from_seq) as view:
            identity(directory)
            for record in islice(committed(view, from_seq), limit):
                _tell_event(explaining.describe(record), as_json=as_json)


def checkpoint(
    log: Annotated[str, typer.Option("--log", help="Log id; default: the governance log.")] = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the daemon's newest sealed checkpoint."""
    with reporting(as_json=as_json), Client(load_client(client)) as daemon:
        text = _note(daemon.get_checkpoint(log))
        if as_json:
            emit({"checkpoint": text})
        else:
            sys.stdout.write(text)


def explain(
    what: Annotated[str, typer.Argument(help="ALGORITHM:HEX of a digest, event id, or signature:HEX (SHA-256)")],
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell everything recorded of a digest, an event or a signature; exit 1 if nothing is."""
    with reporting(as_json=as_json), Client(load_client(client)) as daemon:
        if what.startswith("signature:"):
            signature = parse_digest("sha256:" + what.removeprefix("signature:")).digest
            events = daemon.explain(signature_sha256=signature)
        elif ":" in what:
            given = parse_digest(what)
            events = daemon.explain(digest=(DigestAlgorithm(given.algorithm), given.digest))
        else:
            events = daemon.explain(event_id=what)
        found = [_event(event.json) for event in events]
        if not found:
            raise Invalid(
                "nothing is recorded of it that this identity may see",
                reason="NOT_RECORDED",
                hint="compare it; auditors see everything, others what they asked for",
            )
        if as_json:
            emit({"events": found})
        for event in found if not as_json else ():
            _tell_event(event, as_json=False)


def tail(
    from_seq: Annotated[int, typer.Option("--from", min=0, max=(1 << 64) - 1, help="First sequence number.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    log: Annotated[str, typer.Option("--log", help="Log id; default: the governance log.")] = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Events in order, JSON lines with --json."""
    with reporting(as_json=as_json), Client(load_client(client)) as daemon:
        events = daemon.tail(from_seq, follow=follow, log=log)
        for event in followed(events) if follow else events:
            _tell_event(_event(event.json), as_json=as_json)


def _note(body: bytes) -> str:
    """A checkpoint that the daemon sent; Invalid for what is none, which is not shown."""
    try:
        parse_note(body)
    except CoreError as error:
        raise Invalid(f"the daemon sent no checkpoint: {error}", reason="ANSWER") from None
    return body.decode()


def _event(text: str) -> dict[str, Any]:
    """An event that the daemon sent."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the daemon sent an event that is none: {error}", reason="ANSWER") from None


def _tell_event(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(event)
        return
    said = event.get("event", {})
    head = f"{event.get('time', '')}  seq {event.get('seq')}  {event.get('type')}"
    leaves = f"  leaf {event.get('first_leaf_index')}" + (f" +{event['count']}" if event.get("count", 1) > 1 else "")
    say(head + leaves)
    for name in ("event_id", "identity", "line", "request_id", "rule", "decision", "reason", "status", "slot", "kind",
                 "grant_id", "change_id", "verdict", "profile"):  # fmt: skip
        if said.get(name):
            say(f"    {name:12} {said[name]}")
    for name in ("policy_sha256", "tree_size"):
        if said.get(name):
            say(f"    {name:12} {said[name]}")
    if "why" in event:
        _tell_why(event["why"])
    for item in event.get("items", []):
        say("    item         " + ", ".join(f"{name} {value}" for name, value in item.items()))


def _tell_why(why: dict[str, Any]) -> None:
    """Grant, change, persons, key and policy behind a request, as governance knows them."""
    grant, change, key = why.get("grant", {}), why.get("change", {}), why.get("key", {})
    if change:
        built = f", built by {change['creator_person']}" if change.get("creator_person") else ""
        say(f"    because      change {change['change_id']}: {change['summary']}{built}")
        for given in change["approvals"]:
            say(f"    approved by  {given['person']} ({', '.join(given['groups'])}), {given['credential']}")
    for gate, person in grant.get("passed", {}).items():
        say(f"    gate         {gate} passed by {person}")
    if key:
        by = f", approved by {', '.join(key['approved_by'])}" if key.get("approved_by") else ""
        say(f"    key          {key['key']}, class {key['class']}, change {key['change_id']}{by}")
    policy = why.get("policy", {})
    if policy.get("change_id"):
        say(f"    policy       change {policy['change_id']}, approved by {', '.join(policy['approved_by'])}")
