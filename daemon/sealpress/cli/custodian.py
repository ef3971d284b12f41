"""`sealpress custodian`: make, adopt, certify or destroy one key on a token, under an approved change record.

Guarantees: the report is one JSON document, in `--output` or on stdout, and there too if that file cannot be written;
without an approved change nothing is touched. Does not: send the report anywhere: `sealpress key` does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sealpress.cli.output import JsonFlag, emit, fail_at_system, reporting, say
from sealpress.core.names import sync_directory
from sealpress.errors import ConfigError

Config = Annotated[Path, typer.Option("--config", help="The custodian's configuration, of the shape of sealpress.toml")]
Change = Annotated[Path, typer.Option("--change", help="The approved change record, or it and its approvals, as JSON")]
Operator = Annotated[str, typer.Option("--operator", help="Who does it: person:<name>")]
Output = Annotated[Path | None, typer.Option("--output", help="Where the report goes; stdout if not given")]
Key = Annotated[str, typer.Option("--key", help="The key's id, as in \\[key.<id>]")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Keys on tokens: generate, adopt, certify, destroy.", no_args_is_help=True)
    for command in (generate, adopt, certify, destroy):
        group.command(command.__name__)(command)
    app.add_typer(group, name="custodian")


def generate(
    config: Config, change: Change, operator: Operator, output: Output = None, as_json: JsonFlag = False
) -> None:
    """Generate the key of a change of kind key.issue in its slot, read its attributes back, sign its birth."""
    from sealpress.wiring import custodian

    with reporting(as_json=as_json):
        _hand_out(custodian.generate(custodian.office(config, operator), change), output, as_json=as_json)


def adopt(
    config: Config,
    change: Change,
    operator: Operator,
    cka_id: Annotated[str, typer.Option("--cka-id", help="The existing key's id, in hex")] = "",
    cka_label: Annotated[str, typer.Option("--cka-label", help="The existing key's label")] = "",
    output: Output = None,
    as_json: JsonFlag = False,
) -> None:
    """Take over an existing key under a change of kind key.adopt: its attributes are read back, its birth unproved."""
    from sealpress.wiring import custodian

    with reporting(as_json=as_json):
        if not cka_id and not cka_label:
            raise ConfigError("which key?", hint="give --cka-id, --cka-label, or both")
        _hand_out(
            custodian.adopt(custodian.office(config, operator), change, cka_id, cka_label), output, as_json=as_json
        )


def certify(
    config: Config,
    change: Change,
    operator: Operator,
    key: Key,
    subject: Annotated[str, typer.Option("--subject", help="Of the request: CN=acme firmware,O=acme")] = "",
    chain: Annotated[Path | None, typer.Option("--chain", help="The PEM chain that came back")] = None,
    output: Output = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a certificate request signed by the key (--subject), or check the chain that came back (--chain)."""
    from sealpress.wiring import custodian

    with reporting(as_json=as_json):
        if bool(subject) == (chain is not None):
            raise ConfigError("give either --subject or --chain", hint="first the request, then the chain")
        office = custodian.office(config, operator)
        if chain is not None:
            _hand_out({"report": custodian.attach(office, change, key, chain)}, output, as_json=as_json)
            return
        request = custodian.request(office, change, key, subject).decode()
        if output is not None and not as_json:
            _write(output, request.encode())
        else:
            _hand_out({"request": request}, output, as_json=as_json)


def destroy(
    config: Config, change: Change, operator: Operator, key: Key, output: Output = None, as_json: JsonFlag = False
) -> None:
    """Destroy a key under a change of kind key.destroy, then search every slot for what might remain of it."""
    from sealpress.wiring import custodian

    with reporting(as_json=as_json):
        _hand_out(
            {"report": custodian.destroy(custodian.office(config, operator), change, key)}, output, as_json=as_json
        )


def _hand_out(document: dict[str, Any], output: Path | None, *, as_json: bool) -> None:
    if output is None:
        emit(document)
        return
    try:
        _write(output, msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    except OSError as error:
        emit(document)  # what was done to the token is done, and nothing else tells of it
        error.filename = error.filename or str(output)
        fail_at_system(error)
    if as_json:
        emit({"written": str(output)})
    else:
        say(f"written to {output}")


def _write(output: Path, body: bytes) -> None:
    """Whole and on the disk, or not at all: what was done to the token is told once. OSError."""
    if output.exists() and not output.is_file():  # a terminal or a pipe has no halves
        output.write_bytes(body)
        return
    target = output.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with part.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)
