"""`sealpress grant`: ask for the right to have something signed, watch it, let it go, end it.

Guarantees: digests are made here from the files given; no content leaves. Does not: sign (`sealpress sign --grant`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli import files
from sealpress.cli.governing import Reason, Ticket, connected, plain
from sealpress.cli.output import REFUSED, ClientFile, JsonFlag, Paths, emit, followed, printable, say
from sealpress.client.control import UNDER_WAY, ControlClient, Item
from sealpress.errors import ConfigError
from sealpress.values import DigestAlgorithm

COLUMNS_FROM = 1_000  # so many artifacts travel in columns
GrantId = Annotated[str, typer.Argument(help="The grant, or the change that it waits for.")]
OVER = ("rejected", "withdrawn", "void", "expired", "failed", "revoked", "exhausted")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Grants: request, watch, release, revoke.", no_args_is_help=True)
    for command in (request, show, watch, revoke, release):
        group.command(command.__name__)(command)
    app.add_typer(group, name="grant")


def request(
    paths: Paths = None,
    line: Annotated[str, typer.Option("--key", help="Line; default: `line` of client.toml")] = "",
    release: Annotated[str, typer.Option("--release", help="What the release is called.")] = "",
    version: Annotated[str, typer.Option("--version", help="Of all artifacts.")] = "",
    algorithm: Annotated[str, typer.Option("--algorithm", help="sha256, sha384 or sha512")] = "sha256",
    digest: Annotated[list[str] | None, typer.Option("--digest", help="ALGORITHM:HEX instead of a file.")] = None,
    digests_file: Annotated[Path | None, typer.Option("--digests-file", help="List as sha256sum writes it.")] = None,
    security_version: Annotated[
        int, typer.Option("--security-version", min=0, max=0xFFFF_FFFF, help="Anti-rollback counter of the release.")
    ] = 0,
    ttl: Annotated[
        int,
        typer.Option(
            "--ttl", min=0, max=0xFFFF_FFFF, help="Seconds that it shall last; 0: 8 hours, or less by its rule."
        ),
    ] = 0,
    reason: Reason = "",
    ticket: Ticket = "",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask for a grant over exact digests; says what is still missing."""
    with connected(client, as_json=as_json) as daemon:
        given = [files.parse_digest(text) for text in digest or []]
        if digests_file is not None:
            given += files.parse_digests_file(digests_file)
        chosen = {one.algorithm for one in given} or {DigestAlgorithm.parse(algorithm)}
        if len(chosen) > 1:
            raise ConfigError("digests of several algorithms in one release", hint="make several releases")
        how = chosen.pop()
        hashed = [*files.hash_files(files.meant(paths or []), how), *given]
        items = [Item(one.digest, _name(one.path), version, one.size) for one in hashed]
        texts = {"ttl_s": ttl, "reason": reason, "ticket": ticket, "security_version": security_version}
        _tell(_requested(daemon, line or daemon.config.line, release, how, items, version, texts), as_json=as_json)


def show(grant: GrantId, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """How far it has come."""
    with connected(client, as_json=as_json) as daemon:
        _tell(daemon.grant(grant), as_json=as_json)


def watch(
    grant: GrantId,
    until: Annotated[str, typer.Option("--until", help="End with 0 once it is in this state.")] = "active",
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell its states as they come; 1 if it is over before."""
    with connected(client, as_json=as_json) as daemon:
        if until not in (*UNDER_WAY, *OVER):
            known = ", ".join(sorted((*UNDER_WAY, *OVER)))
            raise ConfigError(
                f"--until {until}: no grant is ever in this state", reason="USAGE", hint=f"one of {known}"
            )
        for found in followed(daemon.watch_grant(grant)):
            _tell(found, as_json=as_json)
            if found.state == until:
                return
        raise typer.Exit(REFUSED)


def revoke(
    grant: GrantId,
    reason: Reason,
    control: Annotated[bool, typer.Option("--control", help="Stop another's, at the control listener.")] = False,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """No more uses, from the next request on."""
    with connected(client, as_json=as_json) as daemon:
        daemon.revoke_grant(grant, reason, control=control)
        if as_json:
            emit({"revoked": grant})
        else:
            say(f"revoked {grant}")


def release(grant: GrantId, client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Let an approved release go: its last gate."""
    with connected(client, as_json=as_json) as daemon:
        _tell(daemon.release(grant), as_json=as_json)


def _requested(
    daemon: ControlClient,
    line: str,
    release_id: str,
    algorithm: DigestAlgorithm,
    items: list[Item],
    version: str,
    texts: dict[str, Any],
) -> Any:
    if not line:
        raise ConfigError("no line given", hint="use --key LINE, or set `line` in client.toml")
    if len(items) >= COLUMNS_FROM:
        return daemon.submit_manifest(line, release_id, algorithm, items, version=version, **texts).grant
    return daemon.request_grant(line, release_id, algorithm, items, **texts)


def _name(path: Path) -> str:
    return path.name.encode("utf-8", "replace").decode()[-500:]


def _tell(grant: Any, *, as_json: bool) -> None:
    if as_json:
        emit(plain(grant))
        return
    if grant.grant_id:
        words = f"grant {grant.grant_id} on {grant.key}: {grant.state}, {grant.uses} of {grant.max_uses} uses"
    else:
        words = f"change {grant.change_id} on {grant.key}: {grant.state}"
    say(printable(words))
    if grant.missing:
        say(f"  still missing: {printable(grant.missing)}")
    if grant.manifest_sha256:
        say(f"  manifest-sha256 {grant.manifest_sha256.hex()}")
