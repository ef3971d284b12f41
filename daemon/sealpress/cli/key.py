"""`sealpress key`: the life of a key, each step with its change record.

    propose → (approvals) → generate → propose activation → (approvals) → activate → suspend, resume, … → destroy

`activate`, `deactivate` and `destroy` propose without `--change`, and carry the approved change out with it.

Guarantees: nothing here touches a token: `generate`, `adopt`, `destroy` say which `sealpress custodian` command does.
Does not: approve.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer

from sealpress.cli.answers import write_named
from sealpress.cli.governing import (
    LineOption,
    Reason,
    Risk,
    Rollback,
    Ticket,
    connected,
    day,
    moment,
    plain,
    read,
    table,
    tell_change,
)
from sealpress.cli.output import ClientFile, JsonFlag, emit, printable, say
from sealpress.client.control import ControlClient, Texts
from sealpress.errors import ConfigError, Invalid
from sealpress.governance import changes as c
from sealpress.values import Format, KeyClass, KeyKind, Mode
from sealpress.verify.change import encode
from sealpress.wiring.today import now_s

DAY_S = 86_400
ROTATE_SHARE = 0.8  # of a key's time
ChangeOption = Annotated[str, typer.Option("--change", help="The approved change to carry out.")]
KeyName = Annotated[str, typer.Argument(help="The key's id, as in \\[key.<id>]")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="What the custodian wrote.")]
EvidenceFile = Annotated[Path, typer.Option("--evidence", help="Where to put what the custodian needs.")]
EVIDENCE = Path("change.json")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Keys: propose, generate, activate, suspend, end.", no_args_is_help=True)
    group.command("list")(list_keys)
    for command in (show, generate, adopt, certify, activate, suspend, resume, deactivate, destroy, compromise, extend):
        group.command(command.__name__)(command)
    group.command("propose")(propose_key)
    app.add_typer(group, name="key")


def list_keys(client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Every key and its state."""
    with connected(client, as_json=as_json) as daemon:
        keys = daemon.governance().keys
        if as_json:
            emit({"keys": [plain(key) for key in keys]})
            return
        rows = [
            (key.key, key.line, getattr(key, "class"), key.state, key.public_state, day(key.not_after),
             f"{key.signatures} of {key.max_signatures}")
            for key in keys
        ]  # fmt: skip
        table(("key", "line", "class", "state", "public half", "ends", "signatures"), rows)


def show(key: KeyName, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """One key."""
    with connected(client, as_json=as_json) as daemon:
        _tell(_find(daemon, key), as_json=as_json)


def propose_key(
    key: KeyName,
    line: LineOption,
    class_: Annotated[KeyClass, typer.Option("--class", help="As the line's policy says.")],
    algorithm: Annotated[str, typer.Option("--algorithm", help=", ".join(get_args(KeyKind)))],
    slot: Annotated[str, typer.Option("--slot", help="As in \\[slot.<id>] of the signer")],
    owner: Annotated[str, typer.Option("--owner", help="person:<name>")],
    backup_owner: Annotated[str, typer.Option("--backup-owner", help="person:<name>")],
    reason: Reason,
    mode: Annotated[Mode, typer.Option("--mode", help="Proofs, or raw signatures.")] = Mode.PROOF,
    format_: Annotated[Format, typer.Option("--format", help="Of what the line gives.")] = Format.TLOG_PROOF,
    trusts: Annotated[list[str] | None, typer.Option("--trusts", help="firmware, boot, recovery_path, …")] = None,
    fleet: Annotated[
        int, typer.Option("--fleet", min=0, max=(1 << 63) - 1, help="Devices that will trust it, about.")
    ] = 0,
    days: Annotated[int, typer.Option("--days", min=1, max=36_500, help="How long it may sign.")] = 365,
    max_signatures: Annotated[
        int, typer.Option("--max-signatures", min=0, max=(1 << 63) - 1, help="After so many it is refused.")
    ] = 1_000_000,
    accepted_risk: Annotated[
        str, typer.Option("--adopt", help="Adopt an existing key; says why its unproved birth is accepted.")
    ] = "",
    risk: Risk = "",
    rollback: Rollback = "",
    ticket: Ticket = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a new key for a line, or the adoption of one that is there."""
    now, parts = now_s(), line.split("/")
    fields: dict[str, Any] = {
        "key": key, "line": line, "class": class_, "environment": parts[3] if len(parts) > 3 else "",
        "purpose": parts[-1], "trusts": tuple(trusts or ()), "fleet_estimate": fleet, "mode": mode, "format": format_,
        "algorithm": algorithm, "slot": slot, "not_before": now, "rotate_by": now + int(days * DAY_S * ROTATE_SHARE),
        "not_after": now + days * DAY_S, "max_signatures": max_signatures, "owner": owner,
        "backup_owner": backup_owner, "accepted_risk": accepted_risk,
    }  # fmt: skip
    kind = "key.adopt" if accepted_risk else "key.issue"
    with connected(client, as_json=as_json) as daemon:
        request = encode(_request(c.KeyRequest, fields))
        tell_change(daemon.propose(kind, request, Texts(reason, risk, rollback, ticket)), as_json=as_json)


def generate(
    change: ChangeOption,
    report: ReportFile = None,
    evidence: EvidenceFile = EVIDENCE,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Say how the custodian makes the key of an approved change; with --report record what it did."""
    _custody(client, change, report, evidence, adopted=False, as_json=as_json)


def adopt(
    change: ChangeOption,
    report: ReportFile = None,
    evidence: EvidenceFile = EVIDENCE,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """The same for a key that is on the token already."""
    _custody(client, change, report, evidence, adopted=True, as_json=as_json)


def certify(
    key: KeyName,
    chain: Annotated[Path, typer.Option("--chain", help="PEM, the key's own certificate first.")],
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Attach a certificate chain to a key."""
    with connected(client, as_json=as_json) as daemon:
        _tell(daemon.certify(key, read(chain, "--chain")), as_json=as_json)


def activate(
    key: KeyName,
    change: ChangeOption = "",
    reason: Reason = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a key sign; its predecessor only verifies from then on."""
    with connected(client, as_json=as_json) as daemon:
        if change:
            _tell(daemon.activate(change), as_json=as_json)
        else:
            _propose_act(daemon, "key.activate", key, reason, as_json=as_json)


def suspend(key: KeyName, reason: Reason, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Stop a key at once; one person suffices."""
    with connected(client, as_json=as_json) as daemon:
        _tell(daemon.suspend_key(key, reason), as_json=as_json)


def resume(key: KeyName, reason: Reason, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Propose that a suspended key signs again."""
    with connected(client, as_json=as_json) as daemon:
        _propose_act(daemon, "key.resume", key, reason, as_json=as_json)


def deactivate(
    key: KeyName,
    change: ChangeOption = "",
    reason: Reason = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """End a key's signing for good; it goes on verifying."""
    with connected(client, as_json=as_json) as daemon:
        if change:
            _tell(daemon.deactivate(change), as_json=as_json)
        else:
            _propose_act(daemon, "key.deactivate", key, reason, as_json=as_json)


def destroy(
    key: KeyName,
    change: ChangeOption = "",
    witness: Annotated[list[str] | None, typer.Option("--witness", help="person:<name>; two of them")] = None,
    evidence: EvidenceFile = EVIDENCE,
    reason: Reason = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a key's destruction; with --change say how, with --witness record that it was done."""
    with connected(client, as_json=as_json) as daemon:
        if not change:
            _propose_act(daemon, "key.destroy", key, reason, as_json=as_json)
        elif witness:
            _tell(daemon.destroy(change, witness), as_json=as_json)
        else:
            command = f"destroy --config CUSTODIAN.toml --operator person:NAME --key {key}"
            _hand_over(daemon, change, evidence, command, as_json=as_json)


def compromise(
    key: KeyName,
    since: Annotated[str, typer.Option("--since", help="Earliest suspected time: 2026-11-23T10:00:00Z")],
    evidence: Annotated[str, typer.Option("--evidence", help="What points to it.")],
    reason: Reason,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose that a key counts as compromised; shows what it signed since then."""
    with connected(client, as_json=as_json) as daemon:
        found = _find(daemon, key)
        at = moment(since)
        request = c.CompromiseRequest(key=key, line=found.line, since=at, evidence=evidence)
        change = daemon.propose("key.compromise", encode(request), Texts(reason))
        impact = daemon.impact(key, at)
        if as_json:
            emit({"change": plain(change), "impact": plain(impact)})
            return
        tell_change(change, as_json=False)
        say(f"  signed since then: {sum(event.count for event in impact.events)} digests in {len(impact.events)} acts"
            + (", and more" if impact.truncated else ""))  # fmt: skip
        for event in impact.events[:20]:
            say(f"    {event.event_id} {printable(event.identity)}: {event.count}, from leaf {event.first_leaf_index}")


def extend(
    key: KeyName,
    not_after: Annotated[str, typer.Option("--not-after", help="The new end, at most 90 days later.")],
    reason: Reason,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a later end, once."""
    with connected(client, as_json=as_json) as daemon:
        found = _find(daemon, key)
        end = moment(not_after)
        request = c.ExtendRequest(key=key, line=found.line, rotate_by=end, not_after=end)
        tell_change(daemon.propose("key.extend", encode(request), Texts(reason)), as_json=as_json)


# ---- helpers ---------------------------------------------------------------------------------------------------------


def _find(daemon: ControlClient, key: str) -> Any:
    for found in daemon.governance().keys:
        if found.key == key:
            return found
    raise ConfigError(f"there is no key {key}", hint="`sealpress key list`")


def _propose_act(daemon: ControlClient, kind: str, key: str, reason: str, *, as_json: bool) -> None:
    request = c.KeyAct(key=key, line=_find(daemon, key).line)
    tell_change(daemon.propose(kind, encode(request), Texts(reason)), as_json=as_json)


def _request(type_: type[msgspec.Struct], fields: dict[str, Any]) -> msgspec.Struct:
    try:
        return msgspec.convert(fields, type_)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), hint="see --help") from None


def _custody(
    client: Path | None, change: str, report: Path | None, evidence: Path, *, adopted: bool, as_json: bool
) -> None:
    with connected(client, as_json=as_json) as daemon:
        if report is None:
            verb = "adopt" if adopted else "generate"
            extra = " --cka-id HEX" if adopted else ""
            command = f"{verb} --config CUSTODIAN.toml --operator person:NAME{extra} --output report.json"
            _hand_over(daemon, change, evidence, command, as_json=as_json)
            return
        document = read(report, "--report")
        try:
            found = msgspec.json.decode(document)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"--report {report}: {error}") from None
        inner = found.get("report", found) if isinstance(found, dict) else found
        _tell(daemon.generated(change, msgspec.json.encode(inner), adopted=adopted), as_json=as_json)


def _hand_over(daemon: ControlClient, change: str, evidence: Path, command: str, *, as_json: bool) -> None:
    """Write change and approvals for the custodian, and say what to type."""
    found = daemon.change(change).change
    if found.state != "approved":
        missing = f", still missing: {found.missing}" if found.missing else ""
        raise Invalid(
            f"change {found.change_id} is {found.state}{missing}",
            reason="CHANGE_NOT_APPROVED",
            hint="a custodian acts on approved changes alone",
        )
    write_named(evidence, bundle(found))
    line = f"sealpress custodian {command} --change {evidence}"
    if as_json:
        emit({"evidence": str(evidence), "command": line})
        return
    say(f"written to {evidence}: the change and its approvals")
    say("at the custodian's machine:")
    say(f"  {line}")


def bundle(change: Any) -> bytes:
    """A change with the approvals that count, as `sealpress custodian` and other verifiers read it."""
    counted = [one for one in change.approvals if one.state in ("counted", "consumed")]
    approvals = [{"statement": one.statement.decode(), "signature": one.signature} for one in counted]
    return msgspec.json.encode({"change": change.record.decode(), "approvals": approvals}) + b"\n"


def _tell(key: Any, *, as_json: bool) -> None:
    if as_json:
        emit(plain(key))
        return
    say(f"key {key.key} of {key.line}: {key.state}, public half {key.public_state or 'unpublished'}")
    say(f"  class {getattr(key, 'class')}, {key.algorithm}, {key.mode} {key.format}, slot {key.slot}"
        + (", SOFTWARE TOKEN (lab)" if key.software_token else ""))  # fmt: skip
    say(f"  from {day(key.not_before)}, rotate by {day(key.rotate_by)}, ends {day(key.not_after)}, "
        f"{key.signatures} of {key.max_signatures} signatures")  # fmt: skip
    say(f"  owners {key.owner}, {key.backup_owner}; trusted for {', '.join(key.trusts) or 'nothing in particular'}"
        + (f", about {key.fleet_estimate} devices" if key.fleet_estimate else ""))  # fmt: skip
    if key.key_id:
        say(f"  key id {key.key_id.hex()}, birth: {key.origin}")
    for stage in key.operators:
        say(f"  {stage}")
    if key.since:
        say(f"  COMPROMISED since {day(key.since)}")
