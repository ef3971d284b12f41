"""`sealpress dev`: a development node in one directory, signer and daemon together.

Guarantees: both processes end with this one; an existing node goes on where it stopped. Does not: serve anything but
class `test`.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from sealpress.cli.output import CANNOT_START, JsonFlag, emit, fail, named_path, reporting, say
from sealpress.errors import CannotStart
from sealpress.wiring import dev as wiring
from sealpress.wiring.pair import Pair

WATCH_S = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dev")(dev)


def dev(
    directory: Annotated[
        Path, typer.Option("--dir", help="Where the node lives; made if missing.", parser=named_path)
    ] = Path("sealpress-dev"),
    listen: Annotated[
        str | None, typer.Option("--listen", help=f"host:port, port 0 for a free one; default {wiring.LISTEN}")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a development node: SoftHSM token, CA, keys, policy, signer and daemon."""
    with reporting(as_json=as_json):
        directory = directory.resolve()
        made = wiring.provision(directory, listen)
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        with Pair(directory) as pair:
            wiring.write_clients(directory, pair.ready)
            if as_json:
                emit(pair.ready | {"dir": str(directory)})
            else:
                _tell(directory, pair, made=made)
            while not ended.wait(WATCH_S):
                child = pair.ended()
                if child is not None:
                    code = child.process.returncode
                    what = f"`sealpress {child.command}` ended with exit code {code}"
                    told = CannotStart(what, reason="NODE_ENDED", hint="what it said stands above")
                    fail(told, as_json=as_json, code=code if code > 0 else CANNOT_START)
        raise typer.Exit(0)


def _tell(directory: Path, pair: Pair, *, made: bool) -> None:
    say(f"{'made' if made else 'using'} the development node in {directory}")
    for name, address in pair.ready.items():
        if name != "ready":
            say(f"  {name:8} {address}")
    line = wiring.PREFIX + "proof-ed25519"
    say("in another terminal:")
    say(f"  export SEALPRESS_CLIENT={directory}/client.toml")
    say("  sealpress sign FILE")
    say(f"  sealpress verify --trust {directory}/trust/{wiring.flat(line)}.policy FILE")
    say("Ctrl-C stops signer and daemon")
