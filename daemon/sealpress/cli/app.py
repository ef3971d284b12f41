"""The command `sealpress`: registers every command and runs the one asked for.

Guarantees: the daemon's and the signer's start are not slowed by the client's imports, nor the other way round.
Does not: decide anything.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import sealpress
from sealpress.errors import ConfigError

# command → the module of sealpress.cli that registers it; only what is asked for is imported
COMMANDS = {
    "serve": "serve",
    "signer": "serve",
    "dev": "dev",
    "demo": "demo",
    "status": "status",
    "sign": "sign",
    "verify": "verify",
    "log": "log",
    "hsm": "hsm",
    "custodian": "custodian",
    "key": "key",
    "change": "change",
    "approve": "approve",
    "grant": "grant",
    "policy": "policy",
    "access": "access",
    "anchors": "anchors",
}


UsageError: Any = typer.BadParameter.__mro__[1]  # click's, wherever typer has it


class Sealpress(TyperGroup):
    """All commands; with `--json` wrong usage is told as every other error is, besides for people."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any | None = None, **extra: Any) -> Any:
        """Of these arguments."""
        self._as_json = "--json" in args
        with self._telling():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """The command that is asked for, with what is left of the arguments."""
        with self._telling():
            return super().invoke(ctx)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            if self._as_json:
                from sealpress.cli.output import emit_error

                emit_error(ConfigError(error.format_message(), reason="USAGE", hint="see --help"))
            raise


def build(wanted: str | None = None) -> typer.Typer:
    """The application with the command `wanted`, or with all of them."""
    app = typer.Typer(
        name="sealpress",
        cls=Sealpress,
        help="Code signing where signing is being in the log.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    modules = [COMMANDS[wanted]] if wanted in COMMANDS else list(dict.fromkeys(COMMANDS.values()))
    for name in modules:
        import_module(f"sealpress.cli.{name}").register(app)
    return app


def _told(version: bool) -> None:
    if version:
        typer.echo(f"sealpress {sealpress.__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_told)
    ] = False,
) -> None:
    pass


class _Words(io.FileIO):
    """Standard error: nobody can be told that it cannot be written, and no command's exit code hangs on it."""

    def write(self, words: Any) -> int:
        """As much as there is, to whoever is there."""
        with suppress(OSError):
            return super().write(words)
        return memoryview(words).nbytes


def _open_standard_streams() -> None:
    """Who starts us may have closed some: the next file would be in their place, and what is printed go into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    words, encoding = io.BufferedWriter(_Words(2, "w", closefd=False)), getattr(sys.stderr, "encoding", None)
    sys.stderr = io.TextIOWrapper(words, encoding, errors="backslashreplace", line_buffering=True)


def _end_at_system(error: OSError) -> NoReturn:
    from sealpress.cli.output import fail_at_system

    try:
        fail_at_system(error)
    except typer.Exit as end:
        sys.exit(end.exit_code)


def main() -> None:
    """Entry point."""
    _open_standard_streams()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read at import; our errors say what matters
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        build(wanted)(prog_name="sealpress")
    except OSError as error:  # help that could not be written; commands tell their own
        _end_at_system(error)
    finally:
        gc.freeze()  # the interpreter's last search for cycles takes longer than to sign a file, and frees nothing
