"""What Sign says of one leaf, as the bytes that go over the wire: proof, opening and ids, made in one call of the core.

Guarantees: protobuf reads from it what it reads from a SignResponse with the same fields (tests/unit/core/
test_answer.py). Does not: know signatures of direct lines, or check that the checkpoint is signed.
"""

from __future__ import annotations

from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.core.leaf import LeafSpec
from sealpress.core.merkle import HASH_SIZE, Tree
from sealpress.core.proof import PROOF_BYTES_MAX
from sealpress.core.status import check, statuses

EVENT_ID_SIZE = 16
ANSWER_BYTES_MAX = PROOF_BYTES_MAX + 1024  # a proof, and an id with whatever else there is

_STATUS = statuses()


class Answers:
    """Writes answers into one buffer of its own, so it belongs to one thread."""

    def __init__(self) -> None:
        """The buffer."""
        self._out: Any = ffi.new("uint8_t[]", ANSWER_BYTES_MAX)
        self._size: Any = ffi.new("size_t *")
        self._view: Any = ffi.buffer(self._out)
        self._note: Any = ffi.new("sp_note *")
        self._checkpoint: bytes | None = None  # the last one: it is a note

    def proof(
        self,
        tree: Tree,
        head_size: int,
        checkpoint: bytes,
        request_id: bytes,
        event_id: bytes,
        index: int,
        spec: LeafSpec,
        salt_seed: bytes,
    ) -> bytes:
        """Of the leaf at `index`, a request's only one, under a signed head; event id 16 bytes, seed and record 32.

        `request_id` is UTF-8. SP_E_BOUNDS if the leaf is not below the head, SP_E_ENCODING if the checkpoint is none.
        """
        if len(event_id) != EVENT_ID_SIZE or len(spec.record) != HASH_SIZE or len(salt_seed) != HASH_SIZE:
            check(_STATUS["SP_E_BOUNDS"])
        if checkpoint is not self._checkpoint:  # a batch has one: looked at once
            check(lib.sp_note_parse(checkpoint, len(checkpoint), self._note))
            self._checkpoint = checkpoint
        status = lib.sp_answer_write(
            tree.pointer, head_size, checkpoint, len(checkpoint), request_id, len(request_id), event_id, index,
            spec.algorithm, spec.security_version, spec.time, spec.record, salt_seed,
            self._out, ANSWER_BYTES_MAX, self._size,
        )  # fmt: skip
        if status:
            check(status)
        return self._view[: self._size[0]]  # type: ignore[no-any-return]
