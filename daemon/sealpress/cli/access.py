"""`sealpress access`: persons, machines, their keys and roles.

Two persons give (a proposal and its approvals), one takes (suspend, offboard, revoke).

Guarantees: nobody proposes for himself. Does not: make persons' keys: they do, and prove here that they hold them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from sealpress.cli.answers import write_named
from sealpress.cli.governing import (
    KeyFile,
    LineOption,
    Reason,
    Ticket,
    connected,
    day,
    moment,
    plain,
    read,
    sign_with,
    table,
    tell_change,
)
from sealpress.cli.output import ClientFile, JsonFlag, emit, printable, say
from sealpress.client.control import ControlClient, Texts
from sealpress.errors import ConfigError, Invalid
from sealpress.governance import changes as c
from sealpress.governance.roles import Role
from sealpress.verify import sshsig
from sealpress.verify.change import encode
from sealpress.wiring.today import now_s

DAY_S = 86_400
CREDENTIAL_DAYS = 365
IdentityName = Annotated[str, typer.Argument(help="person:alice, workload:router-ci, …")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Persons, machines, keys, roles.", no_args_is_help=True)
    for command in (enrol, credential, bind, restore, issuer, suspend, offboard, revoke, roles, who):
        group.command(command.__name__)(command)
    app.add_typer(group, name="access")


def enrol(
    identity: IdentityName,
    name: Annotated[list[str], typer.Option("--name", help="How it authenticates: uri:…, spki:sha256:…, actor:…")],
    reason: Reason,
    owner: Annotated[str, typer.Option("--owner", help="Of a machine: person:<name> who answers for it.")] = "",
    backup_owner: Annotated[str, typer.Option("--backup-owner", help="… and in that one's absence.")] = "",
    line: LineOption = "",
    environment: Annotated[str, typer.Option("--environment", help="Of a machine: where it acts; recorded.")] = "",
    trust_domain: Annotated[str, typer.Option("--trust-domain", help="Of a partner: whose names are theirs.")] = "",
    on_behalf_of: Annotated[str, typer.Option("--on-behalf-of", help="Of an agent: the person")] = "",
    sponsor: Annotated[str, typer.Option("--sponsor", help="Of a partner")] = "",
    agreement: Annotated[str, typer.Option("--agreement", help="Of a partner")] = "",
    expires: Annotated[str, typer.Option("--expires", help="No right from then on: 2026-11-23")] = "",
    ticket: Ticket = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose that a person or machine is known."""
    with connected(client, as_json=as_json) as daemon:
        fields: dict[str, Any] = {
            "identity": identity, "kind": identity.partition(":")[0], "names": tuple(name), "owner": owner,
            "backup_owner": backup_owner, "trust_domain": trust_domain, "environment": environment, "line": line,
            "on_behalf_of": on_behalf_of, "sponsor": sponsor, "agreement": agreement,
            "expires": moment(expires) if expires else 0,
        }  # fmt: skip
        _propose(daemon, "access.enrol", c.EnrolRequest, fields, Texts(reason, ticket=ticket), as_json=as_json)


def credential(
    person: Annotated[str, typer.Argument(help="person:<name>")],
    public: Annotated[Path, typer.Argument(help="The public key, as ssh-keygen wrote it.")],
    reason: Reason = "",
    key: KeyFile = None,
    proof: Annotated[Path | None, typer.Option("--proof", help="What --prove wrote.")] = None,
    prove: Annotated[Path | None, typer.Option("--prove", help="Only write the proof, for who proposes it.")] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=CREDENTIAL_DAYS, help="How long it counts.")
    ] = CREDENTIAL_DAYS,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a key that a person approves with; its holder proves with --key that he holds it."""
    with connected(client, as_json=as_json) as daemon:
        line = " ".join(read(public, "public key").decode("ascii", "replace").split()[:2])
        if proof is not None:
            signature = read(proof, "--proof").decode("ascii", "replace")
        elif key is not None:
            text = c.proof_text(person, daemon.governance().deployment, line)
            signature = sign_with(key, c.CREDENTIAL_NAMESPACE, text)
            _check_proof(signature, text)
        else:
            raise ConfigError("no proof of possession", hint="--key FILE where the key is, or --proof FILE from there")
        if prove is not None:
            write_named(prove, signature.encode())
            if as_json:
                emit({"proof": str(prove)})
            else:
                say(f"written to {prove}: give it, with {public}, to who proposes the key")
            return
        fields = {"person": person, "public": line, "expires": now_s() + days * DAY_S, "proof": signature}
        _propose(daemon, "access.credential", c.CredentialRequest, fields, Texts(reason), as_json=as_json)


def bind(
    identity: IdentityName,
    role: Annotated[Role, typer.Argument(help="The role.")],
    reason: Reason,
    line: Annotated[str, typer.Option("--line", help="A line, or * for all.")] = "*",
    group: Annotated[str, typer.Option("--group", help="What approval paths call it.")] = "",
    not_after: Annotated[str, typer.Option("--not-after", help="The role ends then: 2026-11-23")] = "",
    ticket: Ticket = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose a role."""
    with connected(client, as_json=as_json) as daemon:
        fields: dict[str, Any] = {
            "identity": identity, "role": role, "line": line, "group": group,
            "not_after": moment(not_after) if not_after else 0,
        }  # fmt: skip
        _propose(daemon, "access.bind", c.BindRequest, fields, Texts(reason, ticket=ticket), as_json=as_json)


def restore(
    what: Annotated[str, typer.Argument(help="An identity, or a binding's id.")],
    reason: Reason,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose that something suspended counts again."""
    kind: Literal["identity", "binding"] = "identity" if ":" in what else "binding"
    with connected(client, as_json=as_json) as daemon:
        fields = {"what": kind, "id": what}
        _propose(daemon, "access.restore", c.RestoreRequest, fields, Texts(reason), as_json=as_json)


def issuer(
    url: Annotated[str, typer.Argument(help="Exactly what stands in `iss`.")],
    kind: Annotated[str, typer.Option("--kind", help="github, gitlab, buildkite, generic")],
    audience: Annotated[str, typer.Option("--audience", help="What stands in `aud`.")],
    owner: Annotated[str, typer.Option("--owner", help="person:<name>")],
    reason: Reason,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Propose that tokens of an issuer are read."""
    fields = {"issuer": url, "kind": kind, "audience": audience, "owner": owner}
    with connected(client, as_json=as_json) as daemon:
        _propose(daemon, "access.issuer", c.IssuerRequest, fields, Texts(reason), as_json=as_json)


def suspend(identity: IdentityName, reason: Reason, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """No right from the next request on, until two persons give it back."""
    with connected(client, as_json=as_json) as daemon:
        daemon.suspend_identity(identity, reason)
        _done("suspended", identity, as_json=as_json)


def offboard(identity: IdentityName, reason: Reason, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """No right ever again."""
    with connected(client, as_json=as_json) as daemon:
        daemon.offboard(identity, reason)
        _done("offboarded", identity, as_json=as_json)


def revoke(
    what: Annotated[str, typer.Argument(help="A binding's id, or SHA256:… of a key.")],
    reason: Reason,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """End a role, or a key that a person approves with."""
    with connected(client, as_json=as_json) as daemon:
        if what.startswith("SHA256:"):
            daemon.revoke_credential(what, reason)
        else:
            daemon.revoke_binding(what, reason)
        _done("revoked", what, as_json=as_json)


def roles(
    everybody: Annotated[bool, typer.Option("--all", help="Everybody's.")] = False,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Our own roles and keys."""
    with connected(client, as_json=as_json) as daemon:
        found: Any = daemon.governance() if everybody else daemon.roles()
        if as_json:
            emit(plain(found))
            return
        if not everybody:
            say(found.person)
        rows = [
            (one.identity, one.role, one.line, one.group or "-", one.state, day(one.not_after), one.binding)
            for one in found.bindings
        ]
        table(("identity", "role", "line", "group", "state", "until", "binding"), rows)
        for one in found.credentials:
            state = "revoked" if one.revoked else f"until {day(one.expires)}" if one.expires else "good"
            say(f"{one.person}  {one.fingerprint}  {one.public.split()[0]}  {state}")


def who(
    line: Annotated[str, typer.Argument(help="A line.")] = "",
    environment: Annotated[str, typer.Option("--environment", help="Or every line of it.")] = "",
    identity: Annotated[str, typer.Option("--identity", help="Or: what may this one have signed?")] = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Who can sign with a line; for auditors."""
    with connected(client, as_json=as_json) as daemon:
        if identity:
            found = daemon.what_can_sign(identity)
            if as_json:
                emit(plain(found))
            else:
                say(f"{printable(found.identity or identity)} is {found.state}")
                _tell_rights(found.rights)
            return
        lines = daemon.who_can_sign(line, environment)
        if not lines:
            asked = f"the line {line}" if line else f"a line of the environment {environment}"
            raise Invalid(f"the policy in force does not know {asked}", reason="NO_SUCH_LINE")
        if as_json:
            emit({"lines": [plain(one) for one in lines]})
            return
        for one in lines:
            say(f"{one.line}, class {getattr(one, 'class')}, key {one.active_key or 'none that is active'}")
            _tell_rights(one.rights)
            for path in one.paths:
                say(f"  {path.path}: {path.quorum} of {', '.join(path.groups)}")
            for bound in one.bindings:
                say(f"  {bound.identity} is {bound.role}" + (f" in {bound.group}" if bound.group else ""))


def _tell_rights(rights: Any) -> None:
    for right in rights:
        words = f"; {', '.join(right.conditions)}" if right.conditions else ""
        quorum = f", {right.quorum} approve" if right.quorum else ""
        say(f"  {right.line} by rule {right.rule}: {printable(right.who)}{printable(words)}{quorum}")


def _propose(
    daemon: ControlClient, kind: str, type_: type[msgspec.Struct], fields: dict[str, Any], texts: Texts,
    *, as_json: bool,
) -> None:  # fmt: skip
    try:
        request = msgspec.convert(fields, type_)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), hint="see --help") from None
    tell_change(daemon.propose(kind, encode(request), texts), as_json=as_json)


def _check_proof(signature: str, text: bytes) -> None:
    try:
        sshsig.verify(signature, text, c.CREDENTIAL_NAMESPACE)
    except Invalid as error:
        raise Invalid(f"the proof does not verify: {error.message}", reason=error.reason) from None


def _done(verb: str, what: str, *, as_json: bool) -> None:
    if as_json:
        emit({verb: what})
    else:
        say(f"{verb} {what}")
