"""What guard and worker say to each other: the slot to open, operations for its token, and what came of them.

Guarantees: an unknown type or field, and a value of another type, do not decode; nor does what a worker says beyond its
bounds, for its process is the module's as much as ours. Does not: judge what is asked for.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from sealpress.hsm.frames import Hello, Id, Message, Natural

SESSIONS_MAX = 64
STRANGERS_MAX = 64  # named; all are counted
NAME_MAX = 64  # of a stranger
TEXT_MAX = 8_192
SIGNATURE_BYTES_MAX = 16 << 10

Sessions = Annotated[int, Meta(ge=0, le=SESSIONS_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Short = Annotated[str, Meta(max_length=512)]

# ---- guard to worker --------------------------------------------------------


class WorkerKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A private key to find, and the public key (SPKI, DER) that it must belong to."""

    name: str
    cka_id: bytes
    cka_label: str
    spki: bytes


class WorkerOpen(Message, frozen=True):
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


class WorkerSign(Message, frozen=True):
    """Do these operations on the pool's sessions; begin none from `deadline_ns` on (CLOCK_MONOTONIC; 0: none)."""

    id: Id
    jobs: tuple[WorkerJob, ...]
    deadline_ns: Natural = 0


class WorkerKeep(Message, frozen=True):
    """Do one of these operations on each session that is at rest and was not used for `idle_ns`; deadline as above.

    The answer has results of the first of them, as many as there were such sessions.
    """

    id: Id
    jobs: tuple[WorkerJob, ...]
    idle_ns: Natural
    deadline_ns: Natural = 0


class WorkerPing(Message, frozen=True):
    """A sign of life, please; with `token`, one of the token behind it."""

    id: Id
    token: bool = False


class WorkerStock(Message, frozen=True):
    """Look at the token's keys again, please."""


# ---- worker to guard --------------------------------------------------------


class KeyStock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key that was asked for: what the token says of it. An attribute that it does not tell is absent."""

    attributes: Annotated[dict[Short, bool], Meta(max_length=64)]
    operations: int | None  # by the token's own count


class Stranger(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A private key that may sign and that nobody configured; `key_id` is empty if its public half is not there."""

    label: Annotated[str, Meta(max_length=NAME_MAX)]
    cka_id: Annotated[bytes, Meta(max_length=NAME_MAX)]
    key_id: Annotated[bytes, Meta(max_length=32)]


class Stock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What there is on a token; `strangers` are the first of `strangers_count`."""

    maker: Short
    serial: Short
    mechanisms: Annotated[tuple[Natural, ...], Meta(max_length=1_024)]  # of those that we sign with
    keys: Annotated[dict[Short, KeyStock], Meta(max_length=4_096)]
    strangers: Annotated[tuple[Stranger, ...], Meta(max_length=STRANGERS_MAX)]
    strangers_count: Natural


class WorkerReady(Message, frozen=True):
    """The keys are found and the sessions open. Said again when their number changes while nothing is asked."""

    sessions: Sessions
    single_threaded: bool


class WorkerStocked(Message, frozen=True):
    """What the worker found on its token: before it is ready, and whenever it was told to look again and could."""

    stock: Stock


class WorkerFailed(Message, frozen=True):
    """It did not work; `lasting`: nor will it at the next try. `tag` marks a PIN that the token rejected."""

    reason: Short
    message: Text
    hint: Text
    lasting: bool
    tag: Annotated[bytes, Meta(max_length=32)] = b""


class WorkerResult(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What came of one job: the token's answer (0 is success). `tried`: it may have signed, whatever it answered.

    Not tried: the token never saw it, for want of a session (CKR_SESSION_CLOSED) or of time (CKR_FUNCTION_CANCELED), or
    it did not begin to sign.
    """

    signature: Annotated[bytes, Meta(max_length=SIGNATURE_BYTES_MAX)]
    rv: int
    elapsed_ns: Natural
    tried: bool


class WorkerSigned(Message, frozen=True):
    """The answer to WorkerSign or WorkerKeep, in the order of its jobs, and how many sessions are left."""

    id: Id
    results: tuple[WorkerResult, ...]
    sessions: Sessions


class WorkerPong(Message, frozen=True):
    """Alive; `rv` is what the token answered, if it was asked; `limit`: so many sessions work at a time (0: unsaid)."""

    id: Id
    sessions: Sessions
    rv: int = 0
    limit: Sessions = 0


ToWorker = Hello | WorkerOpen | WorkerSign | WorkerKeep | WorkerPing | WorkerStock
FromWorker = Hello | WorkerReady | WorkerFailed | WorkerSigned | WorkerPong | WorkerStocked

to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
