"""Keys on tokens that nobody configured (GR-01), and tokens that count other operations than we do (GR-07): records.

What was recorded stands in a file beside the logs, so that a restart tells only what is new. What is new meanwhile, and
what changes to and fro, is put together into one record per slot and kind, REST_S after the last ones.

Guarantees: each such key, and each key whose count differs, is in the governance log once while it lasts, and again
when it has gone and come; one record per slot and kind and REST_S at most. Does not: look at tokens (the signer does),
or know what it recorded if the file is lost, or the process killed between record and file: then it records twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sealpress.core.names import sync_directory
from sealpress.errors import SealpressError
from sealpress.steps import _alerts
from sealpress.steps._shared import Shared
from sealpress.telemetry.slots import SlotSeen

UNMANAGED = "key.unmanaged"
DIFFERS = "alert.operations"
REST_S = 60.0
WAIT_S = 1.0  # until a governed node has its trust anchors
NAMED_MAX = 8
_Told = dict[str, dict[str, list[str]]]  # slot, name of the record, what it is about


class Strangers:
    """Of one node. Owned by the event loop."""

    def __init__(self, shared: Shared, path: Path) -> None:
        """`path`: of the file; one that cannot be read is as none."""
        self._shared = shared
        self._path = path
        self._told = _read(path)
        self._seen: dict[str, dict[str, Mapping[str, str]]] = {}
        self._begun = False
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()

    def heard(self, slots: Mapping[str, SlotSeen]) -> None:
        """The signer's newest word; of a token that nobody has looked at the last word stays."""
        for name, slot in slots.items():
            if slot.unmanaged is not None and slot.counts is not None:
                self._seen[name] = {UNMANAGED: dict.fromkeys(slot.unmanaged, ""), DIFFERS: slot.counts}
        self._go()

    def begin(self) -> None:
        """Facts can be written from now on; a governed node without trust anchors is waited for."""
        self._begun = True
        self._go()

    def close(self) -> None:
        """Nothing more is recorded."""
        self._begun = False
        for task in self._tasks.values():
            task.cancel()

    # ---- helpers, in call order ----

    def _go(self) -> None:
        for slot, kinds in self._seen.items() if self._begun else ():
            for name in kinds:
                task = self._tasks.get((slot, name))
                if self._changed(slot, name) and (task is None or task.done()):
                    self._tasks[slot, name] = asyncio.get_running_loop().create_task(self._run(slot, name))

    def _changed(self, slot: str, name: str) -> bool:
        return sorted(self._seen[slot][name]) != self._known(slot, name)

    def _known(self, slot: str, name: str) -> list[str]:
        return self._told.get(slot, {}).get(name, [])

    async def _run(self, slot: str, name: str) -> None:
        while self._changed(slot, name):
            told = await self._tell(slot, name, self._seen[slot][name])
            await asyncio.sleep(REST_S if told else WAIT_S)

    async def _tell(self, slot: str, name: str, found: Mapping[str, str]) -> bool:
        """Record what is new of it, and that it is known; False: not yet."""
        new = [one for one in found if one not in self._known(slot, name)]
        try:
            if new and not await _alerts.record(self._shared, name, slot, _text(name, new, found)):
                return False
            self._told.setdefault(slot, {})[name] = sorted(found)
            async with self._writing:
                await asyncio.to_thread(_write, self._path, msgspec.json.encode(self._told))
        except (SealpressError, OSError) as error:
            self._shared.telemetry.tick_failed(getattr(error, "reason", "STRANGERS"), str(error))
        return True


def _text(name: str, new: list[str], found: Mapping[str, str]) -> str:
    if name == UNMANAGED:
        said, what = new, "its token holds keys that may sign and that no [key.<id>] names"
    else:
        said, what = [f"{key}: {found[key]}" for key in new], "its token counts other operations than its signer"
    rest = f"; and {len(said) - NAMED_MAX} more" if len(said) > NAMED_MAX else ""
    return f"{what}: {'; '.join(said[:NAMED_MAX])}{rest}"


def _read(path: Path) -> _Told:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Told)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _write(path: Path, raw: bytes) -> None:
    half = path.with_suffix(".new")
    with half.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    sync_directory(path.parent)
