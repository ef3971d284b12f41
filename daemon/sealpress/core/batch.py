"""The frames of one commit, as they will stand in a segment: filled here, written by the journal's threads.

Guarantees: nothing that its room cannot hold is added, and nothing is added in part. Does not: number frames or choose
their time; a journal does when it takes the batch.
"""

from __future__ import annotations

from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.arguments import bytes32, u64
from sealpress.core.leaf import LeafSpec, kept_spec
from sealpress.core.status import check, statuses

_STATUS = statuses()
_DIGEST_SIZES = {algorithm: int(lib.sp_digest_size(algorithm)) for algorithm in range(1, 4)}

Places = tuple[list[int], bytes]  # of the frames of a batch: offsets, records


class Batch:
    """The frames of one commit. Fill it, submit it, and leave it alone until its result is taken."""

    def __init__(self, bytes_max: int) -> None:
        """Room for `bytes_max` bytes of frames."""
        u64(bytes_max)
        slot = ffi.new("sp_batch **")
        check(lib.sp_batch_new(bytes_max, slot))
        self.pointer: Any = ffi.gc(slot[0], lib.sp_batch_free)
        self._spec: LeafSpec | None = None  # of the last request; most of a batch have one and the same object ...
        self._native: Any = None  # ... and what the core takes for it
        self._digest_size = 0

    def event(self, type_: int, version: int, head: bytes, scope: bytes) -> int:
        """Adds a frame with one event leaf; its number in the batch. SP_E_ROOM: the batch is full."""
        check(lib.sp_batch_event(self.pointer, type_, version, head, len(head), bytes32(scope)))
        return self.frames - 1

    def request(
        self, version: int, head: bytes, spec: LeafSpec, salt_seed: bytes, names: bytes, digests: bytes, count: int
    ) -> None:
        """Adds a frame with a signature leaf per digest. SP_E_ROOM: the batch is full."""
        if spec is not self._spec:
            self._native, self._digest_size = kept_spec(spec), _DIGEST_SIZES.get(spec.algorithm, 0)
            self._spec = spec
        if count < 1 or len(digests) != self._digest_size * count:
            check(_STATUS["SP_E_ARGUMENT"])
        status = lib.sp_batch_request(
            self.pointer, version, head, len(head), self._native, bytes32(salt_seed), names, len(names),
            digests, count,
        )  # fmt: skip
        if status:
            check(status)

    def reset(self) -> None:
        """Empties it for the next use."""
        lib.sp_batch_reset(self.pointer)

    def use_reserve(self) -> None:
        """It may take the room that is set aside for a full disk; until `reset`."""
        lib.sp_batch_use_reserve(self.pointer)

    @property
    def bytes(self) -> int:
        """Bytes used so far."""
        return int(lib.sp_batch_bytes(self.pointer))

    @property
    def frames(self) -> int:
        """Frames so far."""
        return int(lib.sp_batch_frames(self.pointer))

    @property
    def leaves(self) -> int:
        """Leaves so far."""
        return int(lib.sp_batch_leaves(self.pointer))

    def places(self) -> Places:
        """Of each frame its offset and, once the batch was committed, the 32 bytes that its leaves hold, end to end."""
        count = self.frames
        offsets, records = ffi.new("uint64_t[]", count), ffi.new("uint8_t[]", 32 * count)
        lib.sp_batch_places(self.pointer, offsets, records)
        return ffi.unpack(offsets, count) if count else [], bytes(ffi.buffer(records))

    def offset(self, frame: int) -> int:
        """Where a frame stands, counted from the first of the batch."""
        return int(lib.sp_batch_offset(self.pointer, frame))
