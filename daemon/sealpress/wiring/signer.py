"""Puts the signer together: configuration in, guard, workers and socket running, exit code out.

Guarantees: hardened before anything secret is read; raises CannotStart (exit 4), ConfigError (2) or Damaged (3) with
one message for people; a failed write of a mark ends the process (L10). Does not: load a PKCS#11 module: workers do.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from sealpress import loop as event_loop
from sealpress.clock import SystemClock
from sealpress.config import Config, load, resolve
from sealpress.core import p11
from sealpress.entropy import SystemEntropy
from sealpress.errors import Damaged
from sealpress.hsm.exposure import warn_of_exposed
from sealpress.hsm.guard import Guard
from sealpress.hsm.keytable import key_table
from sealpress.hsm.pinned import load_anchors
from sealpress.hsm.server import GuardServer
from sealpress.hsm.state import State


def run_signer(config_path: Path, json_output: bool) -> int:
    """Run until SIGTERM or SIGINT; 0. With `json_output` one line on stdout says when it is ready."""
    p11.harden_process()
    config = load(config_path)
    state = State(resolve(config_path, config.signer.state), SystemEntropy())
    try:
        return event_loop.run(_run(config, config_path, state, json_output))
    finally:
        state.close()


async def _run(config: Config, config_path: Path, state: State, json_output: bool) -> int:
    def path_of(value: str) -> Path:
        return resolve(config_path, value)

    anchors = load_anchors(config.signer, path_of, state)
    table = key_table(config, path_of, anchors.anchors.lines if anchors is not None else None)
    guard = Guard(config, path_of, table, state, SystemClock(), anchors)
    server = GuardServer(guard, path_of(config.signer.socket), config.signer.users)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        if not await _started(guard, ended):
            return 0
        await server.start()
        warn_of_exposed(config, path_of)  # not before: of a start that fails, its error is all that is said
        event_loop.settled()
        if json_output:
            sys.stdout.write(json.dumps({"ready": True, "socket": str(path_of(config.signer.socket))}) + "\n")
            sys.stdout.flush()
        failed = await _until(ended, guard.failure)
    finally:
        await server.close()
        await guard.close()
    if failed is not None:
        raise failed
    return 0


async def _started(guard: Guard, ended: asyncio.Event) -> bool:
    """Whether the guard is up; False if we are told to end while a module is still loading."""
    starting, ending = asyncio.create_task(guard.start()), asyncio.create_task(ended.wait())
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not starting.done():
        starting.cancel()
        return False
    await starting
    return True


async def _until(ended: asyncio.Event, failure: asyncio.Future[Damaged]) -> Damaged | None:
    failure.add_done_callback(lambda _: ended.set())
    await ended.wait()
    return failure.result() if failure.done() else None
