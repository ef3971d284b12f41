"""The published checkpoints of a node: one file for each log, kept up with what is sealed.

Guarantees: a head that was published is taken up again at the next start, if the log's own key signed it and it is one
of the log; one that could not be written is tried again; at most one write per interval, but for `flush`. Does not:
sign heads, or show them to witnesses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from functools import partial

from sealpress.core.proof import Note, NoteLine
from sealpress.errors import Invalid
from sealpress.steps._ticket import LogState
from sealpress.telemetry import Telemetry
from sealpress.tlog.checkpoint import CheckpointFile
from sealpress.tlog.log import Log
from sealpress.verify import note


class Published:
    """The files, by log."""

    def __init__(self, interval_ms: int, telemetry: Telemetry) -> None:
        """None yet."""
        self._interval_ms = interval_ms
        self._telemetry = telemetry
        self._files: dict[str, CheckpointFile] = {}

    def take_up(self, state: LogState) -> None:
        """What was published of this log is what it has sealed so far."""
        log = state.log
        file = self._files[state.id] = CheckpointFile(log.settings.directory, partial(_own_line, log, state.log_vkey))
        published, line = file.newest, file.line
        if published is not None and line is not None and _stands(log, published.note):
            signed = note.signature_line(line.name, line.key_id, line.signature)
            state.signed(published.note.size, published.note.text + b"\n" + signed)
            state.sealed_size, state.sealed_note = published.note.size, published.text

    async def run(self, logs: Collection[LogState]) -> None:
        """Keep the published checkpoints up with what is sealed."""
        while True:
            await asyncio.sleep(self._interval_ms / 1000)
            for log in logs:
                await self.flush(log)

    async def flush(self, log: LogState) -> None:
        """Write the newest head of one log, if it is not there."""
        await flush(self._files[log.id], log, self._telemetry)


def _own_line(log: Log, vkey: str, found: Note) -> NoteLine | None:
    """The log's own signature line; None if its key did not sign this head.

    One that it signed and that is none of this log is left where it is: `sealpress log verify` tells of it.
    """
    if found.origin != log.origin:
        return None
    key = note.parse_vkey(vkey)
    assert isinstance(key, note.LogKey)
    for line in found.lines:
        if (line.name, line.key_id) == (key.name, key.key_id):
            with suppress(Invalid):
                note.verify_log(key, found.text, line.signature)
                return line
    return None


def _stands(log: Log, found: Note) -> bool:
    """Whether this is a head of the log."""
    return found.size <= log.size and found.root == log.root(found.size)


async def flush(file: CheckpointFile, log: LogState, telemetry: Telemetry) -> None:
    """Offer the newest head and write it; a file that cannot be written keeps what it has, and that is said once."""
    if log.sealed_note and (file.newest is None or log.sealed_note != file.newest.text):
        file.offer(log.sealed_note)
    if not file.waiting:
        return
    try:
        await asyncio.get_running_loop().run_in_executor(None, file.flush)
    except OSError as error:  # the file is a convenience; the next interval tries again
        why = error.strerror or str(error)
        if why != file.trouble:
            telemetry.checkpoint_unwritten(log.id, why)
        file.trouble = why
        return
    if file.trouble:
        telemetry.checkpoint_written(log.id)
    file.trouble = ""
