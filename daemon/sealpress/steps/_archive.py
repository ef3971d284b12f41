"""What a start makes of the log: the state of governance and the uses so far, from a snapshot file or from leaf 0.

The file is derived: it counts only if its SHA-256 stands in the SNAPSHOT record that it points to (DESIGN 3.1). Written
whole beside its place, then recorded, then named: killed anywhere, the former file is still the one that counts.

    header   eight bytes of magic | u64 segment and u64 offset of its record (little endian)
    parts    each a u64 length and MessagePack: `Body` without grants, then lists of grants, in order

Of a file of another release the uses count, and its state does where the first facts were archived: what that release
made of the same facts may be something else.

Guarantees: with and without the file the same state and the same uses; a log that does not fold is Damaged. Does not:
verify approvals again (DECISIONS/0013), or run beside commits (`body` alone does).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from sealpress.core.names import sync_directory
from sealpress.errors import CannotStart, CoreError, Damaged, Invalid, SealpressError
from sealpress.governance import facts as f
from sealpress.governance.fold import VERSION, apply
from sealpress.governance.state import Grant, State, without_tables
from sealpress.governance.usage import Ledger
from sealpress.steps._pending import Use
from sealpress.steps._shared import Shared
from sealpress.tlog import archived
from sealpress.tlog.entry import GovernanceEvent, OutcomeEvent, OutcomeStatus, RequestEvent, Where
from sealpress.tlog.log import Log
from sealpress.tlog.reader import LogReader, unreadable
from sealpress.tlog.record import NANOSECONDS, Record
from sealpress.values import RecordType

MAGIC = b"SPGOVS\0\3"
FORMER = b"SPGOVS\0\2"  # of earlier releases: without `Body.fold`
WHOLE = b"SPGOVS\0\1"  # ... and one part without a length, which has the grants, too
GRANTS = 500  # of a part: some milliseconds in which nothing else of this process runs
FILE_BYTES_MAX = 4 << 30
OPEN_MAX = 200_000  # requests without an end that are remembered while folding
OPEN_S = 600  # beyond the 300 s in which a leaf can be sealed
_HEADER = struct.Struct("<8sQQ")
_LENGTH = struct.Struct("<Q")
_OVER = frozenset({OutcomeStatus.SEALED, OutcomeStatus.SIGNED, OutcomeStatus.UNKNOWN, OutcomeStatus.STOPPED})


class Body(msgspec.Struct, array_like=True, frozen=True):
    """The content of the file: the state after `state.seq`, the uses up to a place in each log."""

    state: State
    grants: dict[str, int]
    keys: dict[str, int]
    told: dict[str, tuple[int, int, int]]  # by origin: the next seq, and where it will stand
    fold: int = 0  # whose making the state is, or began as (fold.VERSION)


@dataclass(slots=True)
class Folded:
    """What the logs say."""

    state: State
    ledger: Ledger
    snapshot_seq: int = 0  # of the record that the file's state stands on; 0: without one
    facts: int = 0  # read one by one
    fold: int = VERSION  # of the file's state, or ours


def fold(governance: Log, logs: Iterable[Log], path: Path | None) -> Folded:
    """State and uses of all that is committed. Damaged, or CannotStart for a log that began without governance."""
    kept = read(path, governance.reader) if path is not None else None
    folded = Folded(State(), Ledger())
    begin: Where | None = None
    told: Mapping[str, tuple[int, int, int]] = {}
    if kept is not None:
        body, begin = kept
        folded.fold = body.fold
        folded.state, folded.snapshot_seq, told = body.state, max(0, body.state.seq), body.told
        folded.ledger.grants.update(body.grants)
        folded.ledger.keys.update(body.keys)
    _need(governance, begin)
    _read(governance, partial(_fold_facts, governance, begin, folded))
    for log in logs:
        start = told.get(log.origin)
        place = Where(start[1], start[2]) if start is not None else None
        _need(log, place)
        _read(log, partial(_fold_uses, log, place, folded))
    for grant in [grant for grant in folded.ledger.grants if grant not in folded.state.open_grants]:
        folded.ledger.forget(grant)
    return folded


def began_governed(log: Log) -> bool | None:
    """Whether the first fact of the log is a TrustAnchors document; None if it has no fact yet."""
    moved = archived.listed(log.settings.directory)
    if moved is not None and moved.governed:
        return True
    for record in log.reader.of_types((RecordType.GOVERNANCE,)):
        kind = record.head.event.kind
        if kind not in f.OTHERS:
            return bool(f.KINDS.get(kind) is f.AnchorsAdopted)
    return None


def needed_from(path: Path, governance: LogReader, log: LogReader, origin: str) -> int | None:
    """The first segment of a log that a start with the snapshot file at `path` reads; None: there is no such file."""
    kept = read(path, governance)
    if kept is None or origin not in kept[0].told:
        return None
    first = Where(*kept[0].told[origin][1:]).segment
    if log.directory == governance.directory:
        first = min(first, kept[1].segment if kept[1] is not None else 0)
    numbers = log.numbers()
    before_ns = log.segment(min(first, numbers[-1])).header.created_ns - OPEN_S * NANOSECONDS
    return max(numbers[0], log.since_time(before_ns).segment)


def _need(log: Log, place: Where | None) -> None:
    """CannotStart if what comes from `place` on, or from the beginning, was archived."""
    first = min(log.reader.numbers(), default=0)
    if first > (place.segment if place is not None else 0):
        raise archived.needed(log.settings.directory, first, "the snapshot of governance that stood for them is gone")


def _read(log: Log, work: Callable[[], None]) -> None:
    try:
        work()
    except (CoreError, Invalid) as error:
        raise unreadable(log.settings.directory, Where(0, 0), error) from error


# ---- folding ---------------------------------------------------------------------------------------------------------


def _fold_facts(log: Log, begin: Where | None, folded: Folded) -> None:
    state = folded.state
    for record in log.reader.of_types((RecordType.GOVERNANCE,), begin):
        event: GovernanceEvent = record.head.event
        if event.kind in f.OTHERS:
            continue
        try:
            fact = f.decode(event.kind, event.body)
            if state.anchors is None and not isinstance(fact, f.AnchorsAdopted):
                raise _late(log)
            apply(state, fact, record.seq, record.time_ns // NANOSECONDS)
        except CannotStart:
            raise
        except SealpressError as error:
            raise Damaged(
                f"{log.settings.directory}: record {record.seq} ({event.kind}) does not follow: {error.message}",
                reason="GOVERNANCE_FOLD",
                hint="the log was not written by this program; run `sealpress log verify`",
            ) from error
        folded.facts += 1


def _fold_uses(log: Log, begin: Where | None, folded: Folded) -> None:
    """Count the uses of every REQUEST from `begin` on; what lapsed is given back."""
    ledger, names = folded.ledger, folded.state.key_ids
    waiting: dict[int, tuple[int, Use]] = {}  # seq → time, what it spent
    lapsed: dict[int, int] = {}  # seq → leaves, of requests before `begin`
    for record in log.reader.of_types((RecordType.REQUEST, RecordType.OUTCOME), begin):
        event = record.head.event
        if isinstance(event, RequestEvent):
            use = _use(event, record.head.count, names)
            _count(ledger, use, use.count)
            waiting[record.seq] = (record.time_ns, use)
            if len(waiting) > OPEN_MAX:
                _prune(waiting, record.time_ns)
        elif isinstance(event, OutcomeEvent):
            for ref in event.requests:
                known = waiting.get(ref.seq)
                if event.status is OutcomeStatus.LAPSED and known is not None:
                    _count(ledger, known[1], -ref.count)
                elif event.status is OutcomeStatus.LAPSED:
                    lapsed[ref.seq] = lapsed.get(ref.seq, 0) + ref.count
                elif event.status in _OVER:
                    waiting.pop(ref.seq, None)
    for record in _requests(log.reader, lapsed):
        _count(ledger, _use(record.head.event, 0, names), -lapsed[record.seq])


def _use(event: RequestEvent, count: int, names: Mapping[str, str]) -> Use:
    return Use(event.grant_id, names.get(event.key_id.hex(), ""), count)


def _count(ledger: Ledger, use: Use, count: int) -> None:
    if use.grant:
        ledger.grants[use.grant] = ledger.grants.get(use.grant, 0) + count
    if use.key:
        ledger.keys[use.key] = ledger.keys.get(use.key, 0) + count


def _prune(waiting: dict[int, tuple[int, Use]], now_ns: int) -> None:
    oldest = now_ns - OPEN_S * NANOSECONDS
    for seq in [seq for seq, (time_ns, _) in waiting.items() if time_ns < oldest]:
        del waiting[seq]


def _requests(reader: LogReader, seqs: Mapping[int, int]) -> Iterator[Record]:
    """The REQUESTs with these seqs."""
    if not seqs:
        return
    last = max(seqs)
    for record in reader.of_types((RecordType.REQUEST,), reader.since_seq(min(seqs))):
        if record.seq > last:
            return
        if record.seq in seqs:
            yield record


def _late(log: Log) -> CannotStart:
    return CannotStart(
        f"{log.settings.directory}: this log began without governance, so nothing in it was approved",
        reason="GOVERNANCE_LATE",
        hint="begin a log with another name for the governed node; without [governance] this one goes on as it was",
    )


# ---- the file --------------------------------------------------------------------------------------------------------


def body(state: State, shared: Shared, fold: int = VERSION) -> Body:
    """What is durable at this moment: uses of commits under way are not yet. In the loop's thread."""
    ledger = Ledger(dict(shared.ledger.grants), dict(shared.ledger.keys))
    for log in shared.logs.values():
        for use in log.taken:
            ledger.give_back(use.grant, use.key, use.count)
    told = {log.log.origin: (log.told[0], *log.told[1]) for log in shared.logs.values()}
    return Body(state, ledger.grants, ledger.keys, told, fold)


def encode(body: Body) -> tuple[bytes, str]:
    """The bytes, and their hash that the SNAPSHOT record has. In another thread than the loop's."""
    pieces: list[bytes] = []
    digest = hashlib.sha256()
    for part in _encoded(body):
        for piece in (_LENGTH.pack(len(part)), part):
            pieces.append(piece)
            digest.update(piece)  # without the interpreter's lock: the loop has its turn
    return b"".join(pieces), digest.hexdigest()


def _encoded(body: Body) -> Iterator[bytes]:
    state = body.state
    yield msgspec.msgpack.encode(replace(body, state=without_tables(state, grants={})))
    grants = list(state.grants.values())
    for at in range(0, len(grants), GRANTS):
        yield msgspec.msgpack.encode(grants[at : at + GRANTS])


def write_half(path: Path, raw: bytes) -> Path:
    """Write all but the name; the record may follow."""
    half = path.with_suffix(".new")
    half.parent.mkdir(exist_ok=True)
    try:
        with half.open("wb") as file:
            file.write(_HEADER.pack(MAGIC, 0, 0))
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        half.unlink(missing_ok=True)  # on a full disk its part is not left to take room
        raise
    return half


def finish(path: Path, half: Path, record: Where) -> None:
    """The record is durable: say where, and give the file its name."""
    with half.open("r+b") as file:
        file.write(_HEADER.pack(MAGIC, *record))
        file.flush()
        os.fsync(file.fileno())
    half.rename(path)
    sync_directory(path.parent)


def read(path: Path, reader: LogReader) -> tuple[Body, Where | None] | None:
    """The file's content and where facts go on from it; None if there is none that the log speaks for.

    Without a state, and from the first fact on (None), if another release made it and all facts are there.
    """
    try:
        with path.open("rb") as file:
            magic, segment, offset = _HEADER.unpack(file.read(_HEADER.size))
            raw = file.read(FILE_BYTES_MAX)
    except (OSError, struct.error):
        return None
    where = Where(segment, offset)
    if magic not in (MAGIC, FORMER, WHOLE) or not Where(0, 1) <= where < reader.end:
        return None
    try:
        event = reader.record(where).head.event
        fact = f.decode(event.kind, event.body) if isinstance(event, GovernanceEvent) else None
        if not isinstance(fact, f.SnapshotTaken) or fact.sha256 != hashlib.sha256(raw).hexdigest():
            return None
        body = _decode(raw, magic)
    except (Damaged, Invalid, msgspec.DecodeError, UnicodeDecodeError, struct.error):
        return None
    if body.state.seq != fact.seq:
        return None
    if (magic, body.fold) == (MAGIC, VERSION) or reader.numbers().start > 0:
        return body, where
    return replace(body, state=State(), fold=VERSION), None


def _decode(raw: bytes, magic: bytes) -> Body:
    """What `encode` was given. The log speaks for these bytes, but not for the magic before them."""
    first, *more = [raw] if magic == WHOLE else _parts(raw)
    body = msgspec.msgpack.decode(first, type=Body)
    grants = [grant for part in more for grant in msgspec.msgpack.decode(part, type=list[Grant])]
    body.state.restore(grants or body.state.grants.values())
    return body


def _parts(raw: bytes) -> Iterator[memoryview]:
    at = 0
    while at < len(raw):
        (size,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size + size
        yield memoryview(raw)[at - size : at]
