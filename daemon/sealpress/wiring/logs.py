"""The logs of a node: opened, compared with the marks of their signers, closed.

Guarantees: what was opened is closed, however far the start came; no log is served that its signer does not know, or
that is behind its mark. Does not: start them, or say which one governs (consistency.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sealpress.config import Config
from sealpress.errors import CannotStart
from sealpress.hsm.status import Mark
from sealpress.ports import Clock, Entropy
from sealpress.telemetry import Telemetry
from sealpress.tlog.log import Log
from sealpress.tlog.settings import LogSettings


class NodeLogs:
    """Those of [log.*]."""

    def __init__(
        self,
        config: Config,
        path_of: Callable[[str], Path],
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry,
        disk: Any = None,
    ) -> None:
        """None is open yet. `disk`: another table of disk functions than the machine's (core.journal)."""
        self._config = config
        self._path_of = path_of
        self._clock = clock
        self._entropy = entropy
        self._telemetry = telemetry
        self._disk = disk
        self.by_id: dict[str, Log] = {}

    def open(self) -> None:
        """Lock and scan each."""
        config = self._config
        for id_, section in config.log.items():
            settings = LogSettings(
                self._path_of(config.node.data) / id_,
                section.name,
                section.number,
                config.journal.segment_bytes,
                config.journal.write,
                section.governance,
                config.limits.batch_bytes_max,
                config.idempotency.window_s,
                config.idempotency.entries_max,
                config.clock.back_max_s,
                config.journal.space_bytes_max,
            )
            told = partial(self._telemetry.log_opening, id_)
            log = self.by_id[id_] = Log.open(settings, self._clock, self._entropy, told, self._disk)
            found = log.recovered
            self._telemetry.log_opened(id_, log.size, len(found.dangling), found.torn is not None, found.tree_rebuilt)
            if found.pwrite or found.memory_only:
                self._telemetry.log_storage(id_, pwrite=found.pwrite, memory_only=found.memory_only)

    def compare(self, marks: Mapping[str, Mark]) -> dict[str, int]:
        """The size at each log's mark; CannotStart SIGNER_DIFFERS, or Damaged where a log and its mark disagree."""
        sizes: dict[str, int] = {}
        for id_, log in self.by_id.items():
            mark = marks.get(log.origin)
            if mark is None:
                raise CannotStart(
                    f"the signer does not know the log {log.origin}",
                    reason="SIGNER_DIFFERS",
                    hint="[log.*] must be the same in the signer's configuration",
                )
            log.check_mark(mark.size, mark.root)
            sizes[id_] = mark.size
        return sizes

    def close(self) -> None:
        """All."""
        for log in self.by_id.values():
            log.close()
