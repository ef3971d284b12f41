"""`sealpress serve` and `sealpress signer`: hand the configuration to wiring, and errors to exit codes.

At start a wrong setting counts as "cannot start": exit 4, so that a service manager treats all of them alike.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sealpress.cli.output import CANNOT_START, JsonFlag, fail, reporting
from sealpress.errors import CannotStart, ConfigError

Config = Annotated[Path, typer.Option("--config", help="sealpress.toml")]


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command("serve")(serve)
    app.command("signer")(signer)


def serve(config: Config, as_json: JsonFlag = False) -> None:
    """Run the daemon: gRPC in, log and proofs out. Never loads a PKCS#11 module."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload before anything was read
    from sealpress.wiring.serve import run_serve

    _run(lambda: run_serve(config, as_json), as_json=as_json)


def signer(config: Config, as_json: JsonFlag = False) -> None:
    """Run the signer: guard, marks, log keys, and a worker for each token slot."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # here and in workers: nothing of them is read again
    from sealpress.wiring.signer import run_signer

    _run(lambda: run_signer(config, as_json), as_json=as_json)


def _run(work: Callable[[], int], *, as_json: bool) -> None:
    with reporting(as_json=as_json):
        try:
            raise typer.Exit(work())
        except ConfigError as error:
            fail(error, as_json=as_json, code=CANNOT_START)
        except OSError as error:  # also a pipe that is gone: nobody hears less of a daemon for that
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise CannotStart(what, reason="SYSTEM", hint="see to it, and start again") from error
