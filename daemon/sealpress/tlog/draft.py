"""The frames of the next commit: gives every record its seq, leaf indices and time before anything is written.

Guarantees: the bytes that are drafted are those that the commit thread writes; a leaf says what its event says. Does
not: write, or know whether the commit will succeed (`Placed` counts only after it did).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import structs

from sealpress.core import leaf
from sealpress.core.batch import Batch
from sealpress.core.merkle import EMPTY_ROOT
from sealpress.errors import CoreError, SealpressError
from sealpress.ports import Entropy
from sealpress.tlog import entry
from sealpress.tlog.entry import ArtifactEvent, Event, Head, RequestEvent, Where
from sealpress.tlog.record import NANOSECONDS, request_spec, scope
from sealpress.values import Artifact, RecordType


class Full(SealpressError):
    """The draft cannot take this record: commit it first. `alone`: not even an empty draft could."""

    reason = "DRAFT_FULL"

    def __init__(self, alone: bool) -> None:
        """For flow, not for people."""
        super().__init__("the record is larger than a batch may be" if alone else "the batch is full")
        self.alone = alone


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Where a drafted record will stand, once its commit succeeded."""

    seq: int
    first_leaf: int
    count: int
    time_ns: int
    head: bytes


class Committed(msgspec.Struct, frozen=True):
    """A durable batch."""

    first_seq: int
    first_leaf: int
    leaves: int
    tree_size: int
    root: bytes
    time_ns: int
    start: Where  # its first frame
    write_ns: int
    hash_ns: int
    check_ns: int
    sync_ns: int
    offsets: Sequence[int]  # of its frames, from the first one's
    records: bytes  # of each frame the 32 bytes that its leaves commit to

    def where(self, placed: Placed) -> Where:
        """The place of one of its records."""
        return Where(self.start.segment, self.start.offset + self.offsets[placed.seq - self.first_seq])

    def place(self, placed: Placed) -> tuple[Where, bytes]:
        """Both of it."""
        at = placed.seq - self.first_seq
        return Where(self.start[0], self.start[1] + self.offsets[at]), self.records[32 * at : 32 * at + 32]

    def record(self, placed: Placed) -> bytes:
        """The 32 bytes that go into the openings of its leaves."""
        at = 32 * (placed.seq - self.first_seq)
        return self.records[at : at + 32]


class Form:
    """What the REQUESTs of one caller, line and decision have in common, ready to be drafted again and again."""

    __slots__ = ("head", "spec")

    def __init__(self, event: RequestEvent, log_name: str) -> None:
        """From the event of any of them."""
        self.head = entry.RequestForm(event)
        self.spec = request_spec(event, log_name, 0)


class Draft:
    """The frames of the next commit. One at a time; a new draft makes the former one invalid."""

    def __init__(self, log_name: str, batch: Batch, entropy: Entropy, time_ns: int, seq: int, leaf_index: int) -> None:
        """Made by `Log.draft` only."""
        self.time_ns = time_ns
        self.first_seq = seq
        self.first_leaf = leaf_index
        self._log_name = log_name
        self._batch = batch
        self._entropy = entropy
        self._event_scope = scope(log_name, "")
        self._leaves = 0
        self._frames = 0

    def use_reserve(self) -> None:
        """It may take the room that is kept for outcomes, stops and recovery when the disk is full."""
        self._batch.use_reserve()

    @property
    def frames(self) -> int:
        """How many records it holds."""
        return self._frames

    @property
    def leaves(self) -> int:
        """How many leaves they make."""
        return self._leaves

    @property
    def bytes_used(self) -> int:
        """How long their frames are."""
        return self._batch.bytes

    @property
    def time(self) -> int:
        """Unix seconds: what stands in its leaves."""
        return self.time_ns // NANOSECONDS

    def request(
        self,
        event: RequestEvent,
        spec: leaf.LeafSpec | None,
        salt_seed: bytes,
        names: bytes,
        digests: bytes,
        count: int,
    ) -> Placed:
        """Add a REQUEST; its leaf spec follows from the event (a given one must agree). Full if there is no room."""
        form = Form(event, self._log_name)
        if spec is not None and _kind_of(spec) != _kind_of(form.spec):
            raise ValueError("the leaf must say what the event says: recovery makes it from the event")
        return self.another(
            form, self._entropy.bytes(entry.NONCE_BYTES), event.event_id, event.request_id, event.same,
            event.security_version, event.artifact, salt_seed, names, digests, count,
        )  # fmt: skip

    def another(
        self,
        form: Form,
        nonce: bytes,
        event_id: bytes,
        request_id: str,
        same: bytes,
        security_version: int,
        artifact: Artifact | ArtifactEvent,
        salt_seed: bytes,
        names: bytes,
        digests: bytes,
        count: int,
    ) -> Placed:
        """Add a REQUEST that differs from its form's only in what is given here. Full if there is no room.

        `nonce`: 16 random bytes, of this record only.
        """
        items_root = leaf.items_root(salt_seed, names, count) if names else EMPTY_ROOT
        head = form.head.head(
            nonce, event_id, request_id, same, security_version, artifact,
            self.first_leaf + self._leaves, count, items_root,
        )  # fmt: skip
        spec = form.spec
        if spec.security_version != security_version:
            spec = structs.replace(spec, security_version=security_version)
        try:
            self._batch.request(entry.VERSION, head, spec, salt_seed, names, digests, count)
        except CoreError as error:
            raise self._full(error) from error
        return self._placed(head, count)

    def event(self, type_: RecordType, event: Event) -> Placed:
        """Add a record without columns. Full if there is no room."""
        if type_ is RecordType.REQUEST or entry.type_of(event) is not type_:
            raise ValueError(f"a {type(event).__name__} does not go into a {type_.name} frame")
        head = self._head(event, 1, EMPTY_ROOT)
        try:
            self._batch.event(type_, entry.VERSION, head, self._event_scope)
        except CoreError as error:
            raise self._full(error) from error
        return self._placed(head, 1)

    def _head(self, event: Event, count: int, items_root: bytes) -> bytes:
        nonce = self._entropy.bytes(entry.NONCE_BYTES)
        return entry.encode(Head(nonce, event, self.first_leaf + self._leaves, count, items_root))

    def _placed(self, head: bytes, count: int) -> Placed:
        placed = Placed(self.first_seq + self._frames, self.first_leaf + self._leaves, count, self.time_ns, head)
        self._frames += 1
        self._leaves += count
        return placed

    def _full(self, error: CoreError) -> Exception:
        return Full(alone=self._frames == 0) if error.name == "SP_E_ROOM" else error


def _kind_of(spec: leaf.LeafSpec) -> tuple[int, int, bytes, bytes, int]:
    return spec.kind, spec.algorithm, spec.key_id, spec.scope, spec.security_version
