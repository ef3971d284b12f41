"""The pass over a log's stored frames (csrc/sp_replay.c): order, checksums, heads, leaves, roots, chain, tree files.

    replay = Replay("sign.example/ci-1")
    replay.enter(segment)
    step = replay.run(segment)          a few MiB, whole batches
    step.what                           MORE, SEALED, END, TORN or BAD

Guarantees: everything is computed again from the bytes that are stored; a batch counts only with its COMMIT; the first
wrong position is named. Does not: verify signatures, judge header copies or what stands behind the last frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.arguments import c_fields, c_path
from sealpress.core.merkle import Tree
from sealpress.core.segment import Segment
from sealpress.core.status import check, statuses

MORE, SEALED, END, TORN, BAD = range(5)
RATE_SAMPLE_NS = 20_000_000

_STATUS = statuses()
_U64_MAX = (1 << 64) - 1
_OUTCOME = struct.Struct("=QQQ")


@dataclass(frozen=True, slots=True)
class Work:
    """SHA-256 compressions that were needed, and what they cost."""

    compressions: int
    cpu_ns: int  # of this thread, for everything that the pass does
    kernel_ns: int  # of the bare kernel for the same number and lengths of messages, all lanes busy, measured just now


@dataclass(frozen=True, slots=True)
class Step:
    """What one run found."""

    what: int
    offset: int  # behind the last COMMIT that was judged good
    bad_offset: int  # TORN: where no frame can be read; BAD: the first frame that is wrong
    bad_seq: int
    reason: str  # BAD: ORDER, RECORD, HEAD, ROOT or CHAIN
    message: str
    sizes: bytes  # tree size of each COMMIT, u64 of this machine, end to end
    roots: bytes  # and its root, 32 bytes
    outcomes: bytes  # for `outcomes_of`


@dataclass(frozen=True, slots=True)
class ReplayState:
    """After the last COMMIT that was judged good; csrc/sp_api.h tells the fields."""

    segment: int
    next_seq: int
    tree_size: int
    last_time_ns: int
    frames: int
    commits: int
    root: bytes
    chain: bytes
    sealed: bool
    cpu_ns: int


def cpu_ns() -> int:
    """Processor time of this thread, in ns."""
    return int(lib.sp_work_cpu_ns())


def outcomes_of(step: Step) -> Iterator[tuple[int, int, int]]:
    """OUTCOMEs that a run passed: offset, and least and greatest time of their leaves in Unix seconds (0: unknown)."""
    return _OUTCOME.iter_unpack(step.outcomes)


class Replay:
    """One log from its first frame on, or from the start of a segment. One thread at a time."""

    def __init__(self, log_name: str) -> None:
        """Before the first frame of that log."""
        slot = ffi.new("sp_replay **")
        check(lib.sp_replay_new(log_name.encode(), slot))
        self._replay: Any = ffi.gc(slot[0], lib.sp_replay_free)
        self._step = ffi.new("sp_replay_step *")

    def compare(self, tree: Path, disk: Any = None) -> None:
        """From now on every node is compared with the files of `tree`."""
        native = lib.sp_disk_linux() if disk is None else ffi.cast("const sp_disk *", disk)
        check(lib.sp_replay_compare(self._replay, native, c_path(tree)))

    def differs(self) -> tuple[int, int] | None:
        """Level and index of the first node whose file differs."""
        level, index = ffi.new("uint32_t *"), ffi.new("uint64_t *")
        status = lib.sp_replay_compared(self._replay, level, index)
        if status == _STATUS["SP_E_MISMATCH"]:
            return int(level[0]), int(index[0])
        check(status)
        return None

    def begin(self, segment: Segment, frontier: bytes) -> None:
        """Start at this segment, believing its header; SP_E_MISMATCH unless the frontier folds to the header's root."""
        check(lib.sp_replay_begin(self._replay, segment.native_header, frontier, len(frontier) // 32))

    def enter(self, segment: Segment) -> None:
        """Go on to this segment; SP_E_MISMATCH unless its header follows from what was read."""
        check(lib.sp_replay_enter(self._replay, segment.native_header))

    def run(self, segment: Segment, offset: int = 0, end: int = _U64_MAX) -> Step:
        """Judge whole batches from `offset` (0: the first) and below `end`: some MiB of them."""
        step = self._step
        check(lib.sp_replay_run(self._replay, segment.pointer, offset, end, step))
        bad = step.what == BAD
        return Step(
            int(step.what),
            int(step.offset),
            int(step.bad_offset),
            int(step.bad_seq),
            ffi.string(step.reason).decode() if bad else "",
            ffi.string(step.message).decode() if bad else "",
            bytes(ffi.buffer(step.sizes, 8 * step.commits)),
            bytes(ffi.buffer(step.roots, 32 * step.commits)),
            bytes(ffi.buffer(step.outcome, _OUTCOME.size * step.outcomes)) if step.outcomes else b"",
        )

    def leaf_hashes(self) -> bytes:
        """What the last run judged good, end to end."""
        return bytes(ffi.buffer(self._step.leaf_hashes, 32 * self._step.leaves)) if self._step.leaves else b""

    def append_to(self, tree: Tree) -> None:
        """Append the leaf hashes of the last run to a tree."""
        if self._step.leaves:
            check(lib.sp_tree_append(tree.pointer, self._step.leaf_hashes, self._step.leaves))

    @property
    def state(self) -> ReplayState:
        """Where it stands."""
        return ReplayState(**c_fields(ReplayState, self._tell()))

    @property
    def records(self) -> list[int]:
        """Records by frame type."""
        return [int(count) for count in self._tell().records]

    def work(self, *, measure: bool = True) -> Work:
        """What all runs needed; to `measure` the kernel takes some tens of milliseconds (else `kernel_ns` is 0)."""
        state = self._tell()
        ns = ffi.new("uint64_t *")
        if measure:
            check(lib.sp_replay_rate(ffi.addressof(state, "work"), RATE_SAMPLE_NS, ns))
        return Work(sum(state.work.blocks), int(state.cpu_ns), int(ns[0]))

    def _tell(self) -> Any:
        out = ffi.new("sp_replay_state *")
        lib.sp_replay_tell(self._replay, out)
        return out[0]

    def close(self) -> None:
        """Let go of it."""
        if self._replay is not None:
            ffi.release(self._replay)
            self._replay = None
