"""Events of a log: opening, commits, its file system, room and end."""

from __future__ import annotations

from typing import TextIO

from prometheus_client import Gauge

from sealpress.ports import Clock
from sealpress.telemetry.reporter import NANOSECONDS, Reporter
from sealpress.telemetry.series import COUNTS, SECONDS, Histogram, Numbers


class Logs(Reporter):
    """What becomes of logs."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        """As of Reporter."""
        super().__init__(clock, stream)
        self._opening_ns = 0  # when a start last told how far it is
        r = self.registry
        self._leaves = Numbers("counter", "sealpress_leaves", "Leaves made durable", "log")
        self._sync = Histogram("sealpress_sync_seconds", "fdatasync of a batch", "log", SECONDS)
        self._batch = Histogram("sealpress_batch_requests", "Requests in a commit", "log", COUNTS)
        self._size = Numbers("gauge", "sealpress_tree_size", "Committed leaves", "log")
        self._sealed = Gauge("sealpress_sealed_size", "Newest signed head", ["log"], registry=r)
        self._share = Gauge("sealpress_log_space_ratio", "Used part of the log's space", ["log"], registry=r)
        self._left = Gauge("sealpress_log_space_left_bytes", "What requests may still write", ["log"], registry=r)
        self._queue = Gauge("sealpress_queue_requests", "Requests waiting for a commit", ["log"], registry=r)

    def log_opened(self, log: str, size: int, dangling: int, repaired: bool, rebuilt: bool) -> None:
        """A log is open."""
        self._size.of[log] = size
        self._log("info", "log_opened", log=log, size=size, dangling=dangling, repaired=repaired, rebuilt=rebuilt)

    def log_opening(self, log: str, done: int, segments: int) -> None:
        """A start replays segments; told once a second at most, and only where it is more than one."""
        now_ns = self._clock.monotonic_ns()
        if segments > 1 and (done == 0 or now_ns - self._opening_ns >= NANOSECONDS):
            self._opening_ns = now_ns
            self._log("info", "log_opening", log=log, segments_done=done, segments=segments)

    def log_storage(self, log: str, *, pwrite: bool, memory_only: bool) -> None:
        """The log's file system is not one of the best."""
        if pwrite:
            self._log("info", "log_pwrite", log=log, message="on no ext4 or xfs a full disk may end it")
        if memory_only:
            message = "the file system is in memory: nothing of this log outlives the machine"
            self._log("warning", "log_not_durable", log=log, message=message)

    def clock_stepped_back(self, log: str, back_ns: int) -> None:
        """The clock stands behind the log's last time."""
        self._log("warning", "clock_stepped_back", log=log, back_ns=back_ns)

    def committed(self, log: str, requests: int, leaves: int, sync_ns: int, size: int) -> None:
        """A batch is durable."""
        self._leaves.of[log] += leaves
        self._size.of[log] = size
        self._sync.observe(log, sync_ns / NANOSECONDS)
        if requests:
            self._batch.observe(log, requests)

    def gauges(self, log: str, queue: int, sealed: int) -> None:
        """Read when metrics are asked for."""
        self._queue.labels(log).set(queue)
        self._sealed.labels(log).set(sealed)

    def log_failed(self, log: str, message: str) -> None:
        """A sync failed: this process signs nothing any more and exits with 3."""
        self._log("critical", "log_failed", log=log, message=message)

    def disk_full(self, log: str, message: str) -> None:
        """Nothing can be written until there is room."""
        self._log("error", "disk_full", log=log, message=message)

    def checkpoint_unwritten(self, log: str, message: str) -> None:
        """The published checkpoint stays as it is; every interval tries again."""
        self._log("warning", "checkpoint_unwritten", log=log, message=message)

    def checkpoint_written(self, log: str) -> None:
        """It is written again."""
        self._log("info", "checkpoint_written", log=log)

    def space(self, log: str, share: float, left: float) -> None:
        """How full a log is; once a second."""
        self._share.labels(log).set(share)
        self._left.labels(log).set(left)

    def space_turned(self, log: str, state: str, share: float, left: float) -> None:
        """`alert`: it fills up. `full`: requests are refused. `room`: all is well again."""
        level = {"room": "info", "alert": "warning"}.get(state, "error")
        self._log(level, "log_space", log=log, state=state, used_percent=round(100 * share), left_bytes=int(left))
