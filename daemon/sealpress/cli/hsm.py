"""`sealpress hsm check`: what a newcomer runs first: modules, tokens, keys, a signature per key, speed, advice.

Guarantees: exit 0 only if every token that was to be looked at was, and every key that was tried signs. Does not:
change anything on a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from sealpress.cli.output import REFUSED, JsonFlag, console, emit, printable, reporting
from sealpress.errors import ConfigError
from sealpress.hsm.findings import KeyFound, TokenFound
from sealpress.hsm.mechanisms import MECHANISMS
from sealpress.wiring.check import Checked, check_all, check_one


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Hardware security modules: look at them before they are used.", no_args_is_help=True)
    group.callback()(_group)
    group.command("check")(check)
    app.add_typer(group, name="hsm")


def _group() -> None:
    pass


def check(
    config: Annotated[Path | None, typer.Option("--config", help="sealpress.toml: its slots and keys")] = None,
    slot: Annotated[list[str] | None, typer.Option("--slot", help="Of the configuration, only this one")] = None,
    module: Annotated[str, typer.Option("--module", help="Without a configuration: a PKCS#11 module")] = "",
    label: Annotated[str, typer.Option("--label", help="… and its token, to be logged in to")] = "",
    serial: Annotated[str, typer.Option("--serial", help="… with this serial number")] = "",
    pin_file: Annotated[Path | None, typer.Option("--pin-file", help="… and this PIN")] = None,
    reserved: Annotated[str, typer.Option("--reserved", help="… the module's initialisation string")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Module, slots, flags, mechanisms, limits, keys and their attributes, a signature per key, speed, advice."""
    with reporting(as_json=as_json):
        if (config is None) == (not module):
            raise ConfigError(
                "which HSM?", hint="give --config sealpress.toml, or --module with --label and --pin-file"
            )
        found = check_all(config, slot or ()) if config else check_one(module, reserved, label, serial, pin_file)
        if as_json:
            emit({"modules": [_document(one) for one in found]})
        else:
            for one in found:
                _tell(one)
        if not all(_good(one) for one in found):
            raise typer.Exit(REFUSED)


def _good(one: Checked) -> bool:
    tokens = [token for token in one.found.tokens if token.slot or token.problem or token.logged_in]
    return not one.found.problem and all(
        not token.problem and not token.missing and all(key.signature in ("good", "untried") for key in token.keys)
        for token in tokens
    )


def _document(one: Checked) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(one.found, builtin_types=(bytes,))
    for token, told in zip(body["tokens"], one.tokens, strict=True):
        del token["rejected"]
        token["advice"] = told
        for key in token["keys"]:
            key["spki"] = key["spki"].hex()
    return body | {"advice": one.advice}


# ---- for people ------------------------------------------------------------------------------------------------------


def _tell(one: Checked) -> None:
    terminal = console()
    found = one.found
    about = f"{found.module}: {found.maker} {found.description} {found.version}".rstrip()
    terminal.print(printable(about), markup=False)
    _advise(terminal, one.advice)
    for token, advice in zip(found.tokens, one.tokens, strict=True):
        _tell_token(terminal, token)
        _advise(terminal, advice)


def _advise(terminal: Console, advice: list[str]) -> None:
    for told in advice:
        terminal.print(f"  ! {printable(told)}", markup=False, soft_wrap=True)


def _tell_token(terminal: Console, token: TokenFound) -> None:
    limit = "any number of" if token.sessions_max is None else str(token.sessions_max)
    where = f", [slot.{token.slot}]" if token.slot else ""
    terminal.print(f"\ntoken {token.label!r}, serial {printable(token.serial)}{where}", markup=False)
    if token.model:
        able = [name for name in token.mechanisms if name in MECHANISMS.values()]
        about = printable(f"{token.maker} {token.model}, firmware {token.firmware}; {limit} sessions")
        terminal.print(f"  {about}", markup=False)
        terminal.print(f"  flags: {', '.join(token.flags).lower()}", markup=False, soft_wrap=True)
        terminal.print(f"  {len(token.mechanisms)} mechanisms; to sign: {', '.join(able) or 'none that we use'}")
    if token.keys:
        table = Table("key", "label", "id", "kind", "deviates", "mechanism", "signature", "ms")
        for key in token.keys:
            table.add_row(*_row(key))
        terminal.print(table)
    if token.rates:
        rates = ", ".join(f"{rate.sessions}: {rate.per_s:,.0f}/s" for rate in token.rates)
        first = next(key for key in token.keys if key.signature == "good")
        terminal.print(f"  {first.kind} signatures by number of sessions: {rates}", markup=False, soft_wrap=True)


def _row(key: KeyFound) -> tuple[str, ...]:
    took = f"{key.latency_us / 1000:.1f}" if key.latency_us else ""
    label = printable(key.label)
    return key.key or "-", label, key.cka_id, key.kind, key.deviation or "no", key.mechanism, key.signature, took
