"""`sealpress anchors`: the document with which governance begins, and its next versions.

    sealpress anchors make draft.toml --output anchors.json      the document, from a draft that a person can read
    sealpress anchors sign anchors.json --key KEY                each officer, with his own key
    sealpress anchors verify anchors.json SIGNATURE…             what it says, and whether enough officers signed

The draft has the document's fields; where the document has public keys, the draft has `keys = ["alice.pub", …]`.

Guarantees: what is made is checked as the daemon and the signer check it. Does not: install it: the document and its
signatures are named in sealpress.toml.
"""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sealpress.cli.answers import write_named
from sealpress.cli.governing import day, read, sign_with
from sealpress.cli.output import JsonFlag, emit, printable, reporting, say
from sealpress.errors import ConfigError
from sealpress.verify import anchors as anchoring
from sealpress.verify.anchors import TrustAnchors
from sealpress.verify.change import encode
from sealpress.verify.sshsig import parse_public_key
from sealpress.wiring.today import now_s

DAY_S = 86_400
Document = Annotated[Path, typer.Argument(help="The TrustAnchors document.")]


class _Person(msgspec.Struct, forbid_unknown_fields=True):
    person: str
    keys: list[str]
    names: list[str] = []
    groups: list[str] = []


class _Draft(msgspec.Struct, forbid_unknown_fields=True):
    """The draft; times are left out: it begins now and lasts `days`."""

    deployment: str
    profile: str
    log: str
    officers: list[_Person]
    root_threshold: int
    version: int = 1
    days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 180
    approvers: list[_Person] = []
    lines: dict[str, dict[str, Any]] = {}
    log_keys: list[str] = []
    witness_keys: list[str] = []


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The document with which governance begins.", no_args_is_help=True)
    for command in (make, sign, verify):
        group.command(command.__name__)(command)
    app.add_typer(group, name="anchors")


def make(
    draft: Annotated[Path, typer.Argument(help="draft.toml")],
    output: Annotated[Path, typer.Option("--output", help="Where it goes.")] = Path("anchors.json"),
    as_json: JsonFlag = False,
) -> None:
    """Make the document from a draft."""
    with reporting(as_json=as_json):
        try:
            found = msgspec.toml.decode(read(draft, "draft"), type=_Draft)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{draft}: {error}", hint="fields as in daemon/GOVERNANCE.md, Beginning") from None
        document = _document(found, draft.parent)
        anchoring.parse(document)
        _refuse_signed(output)
        write_named(output, document)
        if as_json:
            emit({"document": str(output)})
            return
        say(f"written to {output}; each officer signs it:")
        say(f"  sealpress anchors sign {output} --key KEY")


def _refuse_signed(output: Path) -> None:
    """The next version is made while the former one is still needed: to verify it, and as what the signer has."""
    signed = next(output.parent.glob(f"{escape(output.name)}.*.sig"), None) if output.is_file() else None
    if signed is not None:
        raise ConfigError(
            f"{output} stands there, signed ({signed.name}): its signatures would be of nothing",
            hint="another --output; or remove both if it is to be given up",
        )


def sign(
    document: Document,
    key: Annotated[Path, typer.Option("--key", help="FIDO2 key handle of an officer.")],
    output: Annotated[Path | None, typer.Option("--output", help="Default: <document>.<key>.sig")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Sign the document with an officer's key."""
    with reporting(as_json=as_json):
        body = read(document, "document")
        _tell(anchoring.parse(body), quiet=as_json)
        target = output or document.with_name(f"{document.name}.{key.name}.sig")
        write_named(target, sign_with(key, anchoring.NAMESPACE, body).encode())
        if as_json:
            emit({"signature": str(target)})
        else:
            say(f"written to {target}")


def verify(
    document: Document,
    signatures: Annotated[list[Path], typer.Argument(help="Files that the officers made.")],
    former: Annotated[Path | None, typer.Option("--former", help="The version before; not for version 1.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what a document says, and whether enough officers signed it."""
    with reporting(as_json=as_json):
        body = read(document, "document")
        signed = [read(path, "signature").decode("ascii", "replace") for path in signatures]
        if former is None:
            found = anchoring.verify_genesis(body, signed)
        else:
            found = anchoring.verify_next(anchoring.parse(read(former, "--former")), body, signed)
        _tell(found, quiet=as_json)
        if as_json:
            emit({"ok": True, "version": found.version, "deployment": found.deployment, "profile": found.profile})
        else:
            say("enough officers signed it")


def _document(draft: _Draft, base: Path) -> bytes:
    now = now_s()
    fields: dict[str, Any] = {
        "version": draft.version, "deployment": draft.deployment, "profile": draft.profile, "log": draft.log,
        "officers": [{"person": one.person, "names": one.names, "keys": _keys(one, base)} for one in draft.officers],
        "root_threshold": draft.root_threshold,
        "approvers": [
            {"person": one.person, "groups": one.groups, "keys": _keys(one, base)} for one in draft.approvers
        ],
        "lines": {line: draft.lines[line] for line in sorted(draft.lines)}, "log_keys": draft.log_keys,
        "witness_keys": draft.witness_keys, "created": now, "expires": now + draft.days * DAY_S,
    }  # fmt: skip
    try:
        return encode(msgspec.convert(fields, TrustAnchors))
    except msgspec.ValidationError as error:
        raise ConfigError(f"the draft: {error}", hint="fields as in sealpress/verify/anchors.py") from None


def _keys(person: _Person, base: Path) -> list[dict[str, str]]:
    keys = [parse_public_key(read(base / path, "public key").decode("ascii", "replace")) for path in person.keys]
    return [{"public": key.line, "application": key.application} for key in keys]


def _tell(anchors: TrustAnchors, *, quiet: bool) -> None:
    if quiet:
        return
    lab = " (a laboratory: keys and persons are stand-ins)" if anchors.profile == "lab" else ""
    say(f"trust anchors version {anchors.version} of {printable(anchors.deployment)}, profile {anchors.profile}{lab}")
    say(f"  log {printable(anchors.log)}, from {day(anchors.created)} to {day(anchors.expires)}")
    for officer in anchors.officers:
        say(f"  officer {officer.person}: {', '.join(key.fingerprint for key in officer.keys)}")
    say(f"  root quorum: {anchors.root_threshold} of {len(anchors.officers)}")
    for person in anchors.approvers:
        say(f"  approver {person.person}, {', '.join(person.groups)}: "
            f"{', '.join(key.fingerprint for key in person.keys)}")  # fmt: skip
    for line, rule in anchors.lines.items():
        say(f"  line {line}: {rule.quorum} of {', '.join(rule.groups)}, from {rule.min_groups} groups")
