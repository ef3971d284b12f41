"""What may cross the signer's sockets: every message there is, and its frame.

A frame is `u32 length (little endian) | MessagePack map`, the map's `type` names the message. Front end and guard speak
the first half, guard and worker the second; both begin with a `Hello` that carries the version.

Guarantees: no message between front end and guard holds bytes to be signed; an unknown type or field, a value of
another type or beyond its bound, and bytes left over do not decode. Does not: judge what a message asks for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from sealpress.errors import Malformed

VERSION = 5
FRAME_BYTES_MAX = 12 << 20
LEAVES_MAX = 16_384  # opened in one Advance
EVIDENCE_MAX = 256  # change records in one Advance
EVIDENCE_BYTES_MAX = 9 << 20  # of all of them; the link's user cuts longer ranges
APPROVALS_MAX = 64  # of one change record
DIRECT_ITEMS_MAX = 1_024  # of one message; the link cuts longer lists
KEYS_MAX = 256  # named in one seal
COSIGNATURES_MAX = 16  # shown for one head
PACKET_BYTES = 128 << 10  # between guard and worker; a socket takes at least so much at once
PREFIX = struct.Struct("<I")

Id = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, Meta(max_length=512)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Path = Annotated[bytes, Meta(max_length=64 * 32)]
Delta = Annotated[bytes, Meta(max_length=128 * 32)]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """One message; the tag is the class's name."""


class Hello(_Message, frozen=True):
    """First message in each direction."""

    version: int


# ---- front end to guard ----------------------------------------------------


class EventLeaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="event"):
    """A leaf that nobody signs: all that the guard needs to build it."""

    record: Hash
    time: Natural


class SignatureLeaf(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="signature"):
    """A leaf that a line key answers for; `evidence` is a position in the message's list."""

    key_id: Hash
    opening: Annotated[bytes, Meta(min_length=61, max_length=61)]
    digest: Annotated[bytes, Meta(max_length=64)]
    evidence: Annotated[int, Meta(ge=0, le=EVIDENCE_MAX)]


class Approval(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A person's statement and its armored SSH signature."""

    statement: Annotated[bytes, Meta(max_length=8 << 10)]
    signature: Annotated[str, Meta(max_length=16 << 10)]


class Evidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A change record's bytes and its approvals."""

    change: Annotated[bytes, Meta(max_length=8 << 20)]
    approvals: Annotated[tuple[Approval, ...], Meta(max_length=APPROVALS_MAX)]


class Advance(_Message, frozen=True):
    """The log grew: accept its head. `consistency`: perfect subtrees of [last accepted size, size), left to right.

    A log of class firmware or root opens its leaves instead, every one in [last accepted size, size): the guard
    computes the subtrees itself and demands evidence for each signature.
    """

    id: Id
    origin: Text
    size: Natural
    root: Hash
    consistency: Delta
    newest_leaf_time: Natural
    leaves: Annotated[tuple[EventLeaf | SignatureLeaf, ...], Meta(max_length=LEAVES_MAX)] = ()
    evidence: Annotated[tuple[Evidence, ...], Meta(max_length=EVIDENCE_MAX)] = ()


class Seal(_Message, frozen=True):
    """Sign the last accepted head, which must be of this size, with the log key and these proof keys.

    `hold`: remember the head as one that witnesses are asked about. Held keys sign a witnessed head, be it the last
    accepted one or not, and are named apart from others.
    """

    id: Id
    origin: Text
    size: Natural
    keys: Annotated[tuple[Text, ...], Meta(max_length=KEYS_MAX)]
    hold: bool = False


class Cosignature(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A witness's, by its key id; the guard makes the text that it must be over."""

    key_id: Annotated[bytes, Meta(min_length=4, max_length=4)]
    time: Natural
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class Cosigned(_Message, frozen=True):
    """The quorum has cosigned the head of this size, which was sealed with `hold`."""

    id: Id
    origin: Text
    size: Natural
    cosignatures: Annotated[tuple[Cosignature, ...], Meta(max_length=COSIGNATURES_MAX)]


class DirectAsk(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One leaf that wants its direct signature: enough to build the leaf again and find it in an accepted head."""

    opening: Annotated[bytes, Meta(min_length=61, max_length=61)]
    digest: Annotated[bytes, Meta(max_length=64)]
    index: Natural
    path: Path


class Direct(_Message, frozen=True):
    """Sign these leaves' digests with a direct key; `size` names the accepted head that the paths lead to."""

    id: Id
    key: Text
    size: Natural
    items: Annotated[tuple[DirectAsk, ...], Meta(min_length=1, max_length=DIRECT_ITEMS_MAX)]


class Stop(_Message, frozen=True):
    """Sign no more with this key, or with any (None)."""

    id: Id
    key: Text | None


class Lift(_Message, frozen=True):
    """End a stop; `evidence` proves that the quorum decided so."""

    id: Id
    key: Text | None
    evidence: Evidence


class Probe(_Message, frozen=True):
    """Ask every worker for a sign of life."""

    id: Id


class Status(_Message, frozen=True):
    """Ask for marks, keys and slots."""

    id: Id


# ---- guard to front end ----------------------------------------------------


class Done(_Message, frozen=True):
    """The answer to Advance, Cosigned, Stop and Lift."""

    id: Id


class SealedBy(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one line key answered: its signature line, or a reason why there is none."""

    key: str
    line: bytes
    rv: int
    latency_us: int
    slot: str
    reason: str


class Sealed(_Message, frozen=True):
    """The answer to Seal."""

    id: Id
    size: Natural
    time: Natural
    log_line: bytes
    lines: tuple[SealedBy, ...]


class DirectSignature(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer to one DirectAsk: a verified signature, or empty and a reason."""

    signature: bytes
    rv: int
    latency_us: int
    slot: str
    reason: str


class Directed(_Message, frozen=True):
    """The answer to Direct, in the order of its items."""

    id: Id
    results: tuple[DirectSignature, ...]


class MarkView(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A log's durable mark."""

    size: int
    root: bytes
    time: int
    key_id: bytes = b""  # of the log's key; empty: not told


class KeyView(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key of the table."""

    key_id: bytes
    line: str
    log: str
    slot: str
    ready: bool
    reason: str
    last_size: int
    last_time: int
    held: bool = False
    mechanism: str = ""  # that its token is asked for
    operations: int = 0  # number of the last one there


class SlotView(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A slot and its worker; `state` is that of its breaker (breaker.py)."""

    up: bool
    sessions: int
    operations: int
    restarts: int
    reason: str
    strangers: int = 0  # keys on its token that may sign and that nobody configured
    state: str = "closed"
    opened: int = 0  # how often the breaker opened
    waiting: int = 0  # operations, in the worker's hands or before them
    latency_us: int = 0  # of one operation, smoothed
    differing: int = 0  # keys of which its token counts other operations than we do
    unmanaged: tuple[str, ...] | None = None  # the strangers, the first of them by name; None: nobody has looked yet
    counts: dict[str, str] | None = None  # of the differing keys: what the token says; None: nobody has looked yet
    limit: int = 0  # so many of its sessions work at a time, as the token bears; 0: nobody has asked yet


class StatusView(_Message, frozen=True):
    """The answer to Status (its id) and, with id 0, what is pushed when readiness changes."""

    id: Natural
    version: str
    logs: dict[str, MarkView]
    keys: dict[str, KeyView]
    slots: dict[str, SlotView]
    refused: dict[str, int]


class Probed(_Message, frozen=True):
    """The answer to Probe: slot, and how long its worker took (-1: no answer)."""

    id: Id
    latency_us: dict[str, int]


class Refused(_Message, frozen=True):
    """The request was not carried out, and why. id 0: the frame itself was bad; the connection ends."""

    id: Natural
    reason: str
    message: str
    retry_after_ms: int = 0


Ask = Hello | Advance | Seal | Cosigned | Direct | Stop | Lift | Probe | Status
Answer = Hello | Done | Sealed | Directed | StatusView | Probed | Refused

# ---- guard to worker and back ----------------------------------------------


class WorkerKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A private key to find, and the public key (SPKI, DER) that it must belong to."""

    name: str
    cka_id: bytes
    cka_label: str
    spki: bytes


class WorkerOpen(_Message, frozen=True):
    """Load the module, log in with the PIN of this file, open sessions, find keys.

    `known`: ids of every key of the configuration; another one that may sign is a stranger (GR-01).
    """

    slot: str
    module: str
    reserved: str
    serial: str
    label: str
    pin_file: str
    sessions: int
    tag_key: bytes
    rejected: tuple[bytes, ...]
    keys: tuple[WorkerKey, ...]
    known: tuple[bytes, ...] = ()
    operations_attribute: int = 0  # of a private key: how often it was used, by the token's own count; 0: none


class Whole(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The same operation for a token that hashes itself: its mechanism, and the message."""

    mechanism: int
    message: bytes


class WorkerJob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One token operation: mechanism and parameter as in sp_p11_job; `whole` where the token offers that mechanism."""

    key: str
    mechanism: int
    parameter: int
    size: int
    data: bytes
    whole: Whole | None = None


class WorkerSign(_Message, frozen=True):
    """Do these operations on the pool's sessions; begin none from `deadline_ns` on (CLOCK_MONOTONIC; 0: none)."""

    id: Id
    jobs: tuple[WorkerJob, ...]
    deadline_ns: Natural = 0


class WorkerKeep(_Message, frozen=True):
    """Do one of these operations on each session that is at rest and was not used for `idle_ns`; deadline as above.

    The answer has results of the first of them, as many as there were such sessions.
    """

    id: Id
    jobs: tuple[WorkerJob, ...]
    idle_ns: Natural
    deadline_ns: Natural = 0


class WorkerPing(_Message, frozen=True):
    """A sign of life, please; with `token`, one of the token behind it."""

    id: Id
    token: bool = False


class WorkerStock(_Message, frozen=True):
    """Look at the token's keys again, please."""


class KeyStock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key that was asked for: what the token says of it. An attribute that it does not tell is absent."""

    attributes: dict[str, bool]
    operations: int | None  # by the token's own count


class Stranger(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A private key that may sign and that nobody configured; `key_id` is empty if its public half is not there."""

    label: str
    cka_id: bytes
    key_id: bytes


class Stock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What there is on a token; `strangers` are the first of `strangers_count`."""

    maker: str
    serial: str
    mechanisms: tuple[int, ...]  # of those that we sign with
    keys: dict[str, KeyStock]
    strangers: tuple[Stranger, ...]
    strangers_count: int


class WorkerReady(_Message, frozen=True):
    """The keys are found and the sessions open. Said again when their number changes while nothing is asked."""

    sessions: int
    single_threaded: bool


class WorkerStocked(_Message, frozen=True):
    """What the worker found on its token: before it is ready, and whenever it was told to look again and could."""

    stock: Stock


class WorkerFailed(_Message, frozen=True):
    """It did not work; `lasting`: nor will it at the next try. `tag` marks a PIN that the token rejected."""

    reason: str
    message: str
    hint: str
    lasting: bool
    tag: bytes = b""


class WorkerResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What came of one job: the token's answer (0 is success). `tried`: it may have signed, whatever it answered.

    Not tried: the token never saw it, for want of a session (CKR_SESSION_CLOSED) or of time (CKR_FUNCTION_CANCELED), or
    it did not begin to sign.
    """

    signature: bytes
    rv: int
    elapsed_ns: int
    tried: bool


class WorkerSigned(_Message, frozen=True):
    """The answer to WorkerSign or WorkerKeep, in the order of its jobs, and how many sessions are left."""

    id: Id
    results: tuple[WorkerResult, ...]
    sessions: int


class WorkerPong(_Message, frozen=True):
    """Alive; `rv` is what the token answered, if it was asked; `limit`: so many sessions work at a time (0: unsaid)."""

    id: Id
    sessions: int
    rv: int = 0
    limit: Natural = 0


ToWorker = Hello | WorkerOpen | WorkerSign | WorkerKeep | WorkerPing | WorkerStock
FromWorker = Hello | WorkerReady | WorkerFailed | WorkerSigned | WorkerPong | WorkerStocked

ask_decoder: msgspec.msgpack.Decoder[Ask] = msgspec.msgpack.Decoder(Ask)
answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_encoder = msgspec.msgpack.Encoder()

M = TypeVar("M")


def packets(frame: bytes) -> Sequence[bytes]:
    """The frame as it goes between guard and worker, whose sockets keep packets apart: in one, but for large ones."""
    if len(frame) <= PACKET_BYTES:
        return (frame,)
    return [frame[at : at + PACKET_BYTES] for at in range(0, len(frame), PACKET_BYTES)]


def only(decoder: msgspec.msgpack.Decoder[M], packet: memoryview) -> M:
    """The message that is the whole packet; Malformed."""
    if len(packet) < PREFIX.size or PREFIX.unpack_from(packet)[0] != len(packet) - PREFIX.size:
        raise Malformed("a packet is not one message")
    try:
        return decoder.decode(packet[PREFIX.size :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a message of the signer's interface: {error}") from error


def frame(message: msgspec.Struct) -> bytes:
    """The bytes that go over the socket."""
    body = _encoder.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise Malformed("a message to or from the signer is too large", reason="TOO_LARGE")
    return PREFIX.pack(len(body)) + body


class Frames(Generic[M]):
    """Cuts a stream of bytes into messages."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[M]) -> None:
        """One for each direction of a connection."""
        self._decoder = decoder
        self._held = bytearray()

    def feed(self, data: bytes | memoryview) -> list[M]:
        """The messages that are complete now. Malformed: TOO_LARGE or BAD_REQUEST; the stream is of no more use."""
        if not self._held:
            messages, at = self._cut(memoryview(data))  # mostly all of it, and nothing is copied
            self._held += data[at:]
            return messages
        self._held += data
        with memoryview(self._held) as view:
            messages, at = self._cut(view)
        del self._held[:at]
        return messages

    def _cut(self, data: memoryview) -> tuple[list[M], int]:
        """What is whole in it, and where the rest begins."""
        messages: list[M] = []
        at = 0
        while len(data) - at >= PREFIX.size:
            (size,) = PREFIX.unpack_from(data, at)
            if size > FRAME_BYTES_MAX:
                raise Malformed("a frame is larger than any message may be", reason="TOO_LARGE")
            end = at + PREFIX.size + size
            if len(data) < end:
                break
            try:
                messages.append(self._decoder.decode(data[at + PREFIX.size : end]))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Malformed(f"not a message of the signer's interface: {error}") from error
            at = end
        return messages, at
