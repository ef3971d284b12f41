"""`sealpress approve`: read what is to be decided, sign it with one's own key, hand it in.

What is shown is made here from the record's bytes: the text, the digest in hex and in words, the difference to the
line's previous release or to the policy in force. The statement that the daemon hands out must be the one that follows
from that record, or nothing is signed.

Guarantees: the bytes that `ssh-keygen` signs are those shown. Does not: keep keys, or trust the daemon's rendering.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli import files
from sealpress.cli.answers import write_named
from sealpress.cli.change import checked
from sealpress.cli.governing import KeyFile, connected, plain, read, sign_with, table, tell_change
from sealpress.cli.output import ClientFile, JsonFlag, emit, followed, printable, reporting, say
from sealpress.client.control import ControlClient
from sealpress.errors import ConfigError, Invalid
from sealpress.governance import changes as c
from sealpress.governance.rendering import compare_policies, compare_releases, render
from sealpress.values import DigestAlgorithm
from sealpress.verify import statement as statements
from sealpress.verify.change import ChangeRecord, ReleaseRequest, decode

ITEMS_SHOWN = 50
HIGH = ("firmware", "root")
NO_POLICY = "0" * 64  # in force when the first one is proposed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("approve")(approve)


def approve(
    change: Annotated[str, typer.Argument(help="The change; none: list what waits for us.")] = "",
    key: KeyFile = None,
    note: Annotated[str, typer.Option("--note", help="Becomes part of what is signed.")] = "",
    artifact: Annotated[
        list[Path] | None, typer.Option("--artifact", help="Hash this file again: it must be in the release.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and tell what comes to wait for us.")] = False,
    statement_only: Annotated[
        Path | None, typer.Option("--statement-only", help="Write the statement, to be signed elsewhere.")
    ] = None,
    submit: Annotated[
        list[Path] | None, typer.Option("--submit", help="FILE.sig beside FILE: hand in what was signed elsewhere.")
    ] = None,
    client: ClientFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Approve a change with one's own key; without arguments, list what waits."""
    with reporting(as_json=as_json):
        _check_usage(change, watch=watch, submit=submit or [], statement_only=statement_only, artifact=artifact or [])
        if change and as_json and not yes and statement_only is None:
            raise ConfigError("--json shows nothing to say yes to", reason="USAGE", hint="give --yes, or leave it out")
    with connected(client, as_json=as_json) as daemon:
        if submit:
            _submit(daemon, submit, as_json=as_json)
        elif watch:
            _watch(daemon, as_json=as_json)
        elif not change:
            _pending(daemon, as_json=as_json)
        else:
            text = _shown(daemon, change, note, artifact or [], quiet=as_json)
            if statement_only is not None:
                write_named(statement_only, text)
                _written(statement_only, as_json=as_json)
            else:
                _sign(daemon, text, key, ask=not yes, as_json=as_json)


def _check_usage(
    change: str, *, watch: bool, submit: list[Path], statement_only: Path | None, artifact: list[Path]
) -> None:
    """ConfigError for words that would be ignored: who gives them means something by them."""
    if bool(change) + watch + bool(submit) > 1:
        raise ConfigError(
            "give one of CHANGE, --watch and --submit", reason="USAGE", hint="--watch tells of all that waits for us"
        )
    if not change and (statement_only is not None or artifact):
        raise ConfigError("--statement-only and --artifact are for one CHANGE", reason="USAGE", hint="which one?")


def _pending(daemon: ControlClient, *, as_json: bool) -> None:
    found = daemon.pending()
    if as_json:
        emit({"pending": [plain(one) for one in found]})
        return
    if not found:
        say("nothing waits for this person")
        return
    rows = [(one.change_id, one.kind, one.line or "-", one.summary, one.missing) for one in found]
    table(("change", "kind", "line", "summary", "missing"), rows)


def _watch(daemon: ControlClient, *, as_json: bool) -> None:
    for found in followed(daemon.watch()):
        if as_json:
            emit(plain(found))
        else:
            say(f"{found.change_id}  {found.kind}  {found.line or '-'}  {printable(found.summary)}")


def _submit(daemon: ControlClient, paths: list[Path], *, as_json: bool) -> None:
    for path in paths:
        if path.suffix != ".sig":
            raise ConfigError(f"--submit {path}: give FILE.sig, with FILE beside it")
        text = read(path.with_suffix(""), "--submit")
        tell_change(daemon.submit(text, read(path, "--submit").decode("ascii", "replace")), as_json=as_json)


def _written(path: Path, *, as_json: bool) -> None:
    command = f"ssh-keygen -Y sign -n {statements.NAMESPACE} -f KEY {path}"
    if as_json:
        emit({"statement": str(path), "command": command})
        return
    say(f"written to {path}; sign it where the key is, and hand both in:")
    say(f"  {command}")
    say(f"  sealpress approve --submit {path}.sig")


def _sign(daemon: ControlClient, text: bytes, key: Path | None, *, ask: bool, as_json: bool) -> None:
    if key is None:
        raise ConfigError("with which key?", hint="--key FILE, or --statement-only FILE to sign elsewhere")
    if ask and not _agreed():
        raise Invalid("nothing was signed", reason="NOT_SIGNED", hint="answer y, or give --yes")
    signature = sign_with(key, statements.NAMESPACE, text)
    tell_change(daemon.submit(text, signature), as_json=as_json)


def _agreed() -> bool:
    """What the person says; nobody there says no, and Ctrl-C is heard where it always is."""
    sys.stderr.write("Sign this? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# ---- what is shown ---------------------------------------------------------------------------------------------------


def _shown(daemon: ControlClient, change_id: str, note: str, artifacts: list[Path], *, quiet: bool) -> bytes:
    """Show the change and return the statement, once it proved to be about nothing else."""
    answer = daemon.change(change_id)
    record = checked(answer.change)
    if record.change_id != change_id:
        raise Invalid("the daemon shows another change", reason="ANSWER", hint="sign nothing; tell auditors")
    text = daemon.statement(change_id, note)
    check_statement(record, text, note)
    matched = _matched(record, artifacts)
    if not quiet:
        say(render(record, ITEMS_SHOWN))
        for line in _difference(record, bytes(answer.previous)):
            say(f"  {line}")
        for line in matched:
            say(f"  {line}")
        if record.line and _class_of(record) in HIGH:
            say("\nFor firmware, approvers use different machines, and read the digest to one another.")
        say("\nThis is what you sign:")
        for line in text.decode().splitlines():
            say(f"  | {line}")
    return text


def check_statement(record: ChangeRecord, text: bytes, note: str) -> None:
    """Invalid unless the statement is exactly the one that approves this record."""
    said = statements.parse(text)
    step = int(said.step.partition("/")[0]) if said.step.partition("/")[0].isdecimal() else 0
    expected = statements.ask(
        record, said.person, step, said.seen_size, said.seen_root, said.nonce, said.issued, said.expires, note
    )
    if statements.render(expected) != text:
        raise Invalid(
            "the statement that the daemon hands out is about something else than the change it shows",
            reason="ANSWER", hint="sign nothing; tell auditors",
        )  # fmt: skip


def _difference(record: ChangeRecord, previous: bytes) -> list[str]:
    asked = c.request_of(record)
    if isinstance(asked, ReleaseRequest):
        old = None
        if previous:
            found = c.request_of(decode(previous, ChangeRecord))
            old = found if isinstance(found, ReleaseRequest) else None
        return ["difference to the previous release", *compare_releases(old, asked)]
    if isinstance(asked, c.PolicyRequest):
        shown = hashlib.sha256(previous).hexdigest() if previous else NO_POLICY
        if shown != record.policy_sha256:
            return ["the policy changed since this was proposed: it will not count"]
        return ["what the policy changes", *compare_policies(previous, asked.policy, record.profile)]
    return []


def _matched(record: ChangeRecord, artifacts: list[Path]) -> list[str]:
    """Files hashed again here; Invalid for one that is not in the release."""
    if not artifacts:
        return []
    asked = c.request_of(record)
    if not isinstance(asked, ReleaseRequest):
        raise ConfigError("--artifact is for releases")
    names = {item.digest: item.name for item in asked.items}
    found = []
    for hashed in files.hash_files(files.meant(artifacts), DigestAlgorithm.parse(asked.algorithm)):
        if hashed.digest.hex() not in names:
            raise Invalid(f"{hashed.path} is not in this release", reason="ARTIFACT", hint="sign nothing")
        found.append(f"{hashed.path} is {printable(names[hashed.digest.hex()])} of the release")
    return found


def _class_of(record: ChangeRecord) -> Any:
    asked = c.request_of(record)
    if isinstance(asked, c.KeyRequest):
        return asked.class_
    return "firmware" if record.required.credential == "sk+uv" else ""
