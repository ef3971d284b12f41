"""What front end and guard say to each other: every message there is. Both begin with a `Hello` (frames.py).

Guarantees: no message between front end and guard holds bytes to be signed; an unknown type or field, a value of
another type or beyond its bound, and bytes left over do not decode. Does not: judge what a message asks for.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from sealpress.hsm.frames import Hello, Id, Message, Natural

LEAVES_MAX = 16_384  # opened in one Advance
EVIDENCE_MAX = 256  # change records in one Advance
EVIDENCE_BYTES_MAX = 9 << 20  # of all of them; the link's user cuts longer ranges
APPROVALS_MAX = 64  # of one change record
ADVANCE_APPROVALS_MAX = 512  # of all in one Advance: the guard verifies each twice while everybody waits
DIRECT_ITEMS_MAX = 1_024  # of one message; the link cuts longer lists
KEYS_MAX = 256  # named in one seal
COSIGNATURES_MAX = 16  # shown for one head

Text = Annotated[str, Meta(max_length=512)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Path = Annotated[bytes, Meta(max_length=64 * 32)]
Delta = Annotated[bytes, Meta(max_length=128 * 32)]

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


class Advance(Message, frozen=True):
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


class Seal(Message, frozen=True):
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


class Cosigned(Message, frozen=True):
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


class Direct(Message, frozen=True):
    """Sign these leaves' digests with a direct key; `size` names the accepted head that the paths lead to."""

    id: Id
    key: Text
    size: Natural
    items: Annotated[tuple[DirectAsk, ...], Meta(min_length=1, max_length=DIRECT_ITEMS_MAX)]


class Stop(Message, frozen=True):
    """Sign no more with this key, or with any (None)."""

    id: Id
    key: Text | None


class Lift(Message, frozen=True):
    """End a stop; `evidence` proves that the quorum decided so."""

    id: Id
    key: Text | None
    evidence: Evidence


class Probe(Message, frozen=True):
    """Ask every worker for a sign of life."""

    id: Id


class Status(Message, frozen=True):
    """Ask for marks, keys and slots."""

    id: Id


# ---- guard to front end ----------------------------------------------------


class Done(Message, frozen=True):
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


class Sealed(Message, frozen=True):
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


class Directed(Message, frozen=True):
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


class StatusView(Message, frozen=True):
    """The answer to Status (its id) and, with id 0, what is pushed when readiness changes."""

    id: Natural
    version: str
    logs: dict[str, MarkView]
    keys: dict[str, KeyView]
    slots: dict[str, SlotView]
    refused: dict[str, int]


class Probed(Message, frozen=True):
    """The answer to Probe: slot, and how long its worker took (-1: no answer)."""

    id: Id
    latency_us: dict[str, int]


class Refused(Message, frozen=True):
    """The request was not carried out, and why. id 0: the frame itself was bad; the connection ends."""

    id: Natural
    reason: str
    message: str
    retry_after_ms: int = 0


Ask = Hello | Advance | Seal | Cosigned | Direct | Stop | Lift | Probe | Status
Answer = Hello | Done | Sealed | Directed | StatusView | Probed | Refused

ask_decoder: msgspec.msgpack.Decoder[Ask] = msgspec.msgpack.Decoder(Ask)
answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
