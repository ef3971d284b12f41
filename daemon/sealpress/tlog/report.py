"""What the judge of a log says: everything that it counted, and the first position that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from sealpress.core.merkle import EMPTY_ROOT
from sealpress.tlog.entry import Where


@dataclass(frozen=True, slots=True)
class Bad:
    """The first position that is wrong."""

    where: Where
    seq: int | None
    reason: str  # HEADER, FRAME, ORDER, RECORD, ROOT, CHAIN, STRAY, TORN_TAIL, HEAD, TREE, CHECKPOINT, CONSISTENCY
    message: str


@dataclass(slots=True)
class Report:
    """What was found."""

    origin: str
    segments: int = 0
    frames: int = 0
    records: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    tree_size: int = 0
    root: bytes = EMPTY_ROOT
    chain: bytes = bytes(32)
    next_seq: int = 0
    last_time_ns: int = 0
    heads: int = 0  # signed heads found in OUTCOMEs
    signatures: int = 0  # verified with the keys given
    unknown_signatures: int = 0  # of keys that were not given
    tree_files: str = "absent"  # absent | match | differ
    live: bool = False  # a daemon holds the log
    bad: Bad | None = None
    tail: Bad | None = None  # bytes behind the last COMMIT: a torn batch, or one that is being written
    bytes_read: int = 0  # of frames
    compressions: int = 0  # of SHA-256, that the records and the tree need
    cpu_ns: int = 0  # processor time of the pass over the frames, all of its work included
    kernel_ns: int = 0  # of the bare SHA-256 kernel for the same messages, measured in the same run; 0: not measured
    heads_cpu_ns: int = 0  # beside the pass: decoding OUTCOMEs, parsing heads, verifying signatures

    @property
    def ok(self) -> bool:
        """Nothing is wrong; a torn tail counts as wrong unless a daemon is writing."""
        return self.bad is None and (self.tail is None or self.live)
