"""What a front end that was taken over shows a guard in place of an approval, and what the guard answers."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
from msgspec import structs

from kit.approving import Person
from kit.firmware import KEY, Office
from kit.softkeys import ED25519, SoftKey
from kit.taken_front import DIGEST, EVIL, NOW, OFFICE, Front
from sealpress.errors import Refusal
from sealpress.hsm.leaves import DirectItem, EventLeaf, Openings, SignatureLeaf
from sealpress.values import DigestAlgorithm, LeafKind
from sealpress.verify.anchors import NAMESPACE as ANCHORS
from sealpress.verify.change import encode
from sealpress.verify.evidence import Evidence
from sealpress.verify.statement import NAMESPACE, parse, render


def forged(evidence: Evidence, **change: object) -> Evidence:
    """The same approvals under a change that says something else."""
    altered = structs.replace(msgspec.json.decode(evidence.change, type=type(OFFICE.release(DIGEST))), **change)
    return replace(evidence, change=encode(altered))


def swapped(evidence: Evidence) -> Evidence:
    """Each statement under the other's signature."""
    (one, first), (two, second) = evidence.approvals
    return replace(evidence, approvals=((one, second), (two, first)))


def rejecting() -> Evidence:
    """Bob signed, and what he signed says no."""
    change = OFFICE.release(DIGEST)
    alice, (statement, _) = OFFICE.approval(OFFICE.alice, change), OFFICE.approval(OFFICE.bob, change)
    said = statement.replace(b"decision: approve", b"decision: reject")
    return Evidence(encode(change), (alice, (said, OFFICE.bob.key.sign(said, NAMESPACE))))


def as_of(person: Person, key: SoftKey) -> Person:
    """This person with another key."""
    return Person(person.name, person.groups, key)


def evidence(*by: Person, digest: bytes = DIGEST, **how: object) -> Evidence:
    """An approved release of `digest`."""
    return OFFICE.evidence(OFFICE.release(digest), *by, **how)


async def _unapproved(front: Front, *shown: Evidence, digest: bytes = DIGEST, **how: object) -> None:
    front.leaf(digest, **how)
    await front.advance(*shown)


async def _opened(front: Front, make: Callable[[Front, Openings], Openings]) -> None:
    front.leaf()
    await front.advance(opened=make(front, front.log.opened(evidence())))


async def _as_event(front: Front) -> None:
    front.leaf()
    await front.advance(opened=Openings((EventLeaf(bytes(32), NOW),), ()))


async def _other_kind(front: Front) -> None:
    other = LeafKind.DIRECT if front.kind is LeafKind.PROOF else LeafKind.PROOF
    front.log.sign(other, front.spki, DIGEST, NOW)
    await front.advance(evidence())


async def _of_other_line(front: Front) -> None:
    front.leaf(line="dev/kit/local/test/other")
    await front.advance(evidence())


async def _of_other_key(front: Front) -> None:
    front.log.sign(front.kind, bytes(91), DIGEST, NOW)
    await front.advance(evidence())


async def _one_evil_among_many(front: Front) -> None:
    for i in range(40):
        front.leaf(EVIL if i == 20 else DIGEST)
    await front.advance(evidence())


async def _two_changes_crossed(front: Front) -> None:
    front.leaf(DIGEST, evidence=1)
    front.leaf(EVIL, evidence=0)
    other = hashlib.sha256(b"other").digest()
    await front.advance(evidence(), evidence(digest=other))


async def _other_algorithm(front: Front) -> None:
    front.leaf(hashlib.sha384(b"approved").digest(), algorithm=DigestAlgorithm.SHA384)
    await front.advance(evidence())


async def _longer_digest(front: Front) -> None:
    made = front.leaf()
    await front.advance(opened=Openings((replace(made, digest=bytes(48)),), (evidence(),)))


async def _dated_back_behind_the_mark(front: Front) -> None:
    old = evidence(issued=NOW - 9_000, expires=NOW - 6_000)
    front.leaf(time=NOW - 7_000)
    await front.advance(old)


async def _too_many(front: Front) -> None:
    front.log.event(NOW, 65)
    await front.advance()


async def _never_told(front: Front) -> None:
    front.leaf()
    await front.signature()


async def _event_as_leaf(front: Front) -> None:
    item = DirectItem(bytes([1, *bytes(4), *NOW.to_bytes(8), *bytes(48)]), DIGEST, 3, front.log.tree.inclusion(3, 4))
    (result,) = await front.link.direct(KEY, [item], 4)
    raise Refusal("refused", reason=result.reason)


async def _head_of_events(front: Front) -> None:
    await front.signature(size=front.log.told)


async def _told_under_an_older_head(front: Front) -> None:
    front.leaf()
    index, size = front.log.tree.size - 1, front.log.tree.size
    leaf = front.log.leaves[-1]
    assert isinstance(leaf, SignatureLeaf)
    item = DirectItem(leaf.opening, leaf.digest, index, front.log.tree.inclusion(index, size))
    (result,) = await front.link.direct(KEY, [item], front.log.told)
    raise Refusal("refused", reason=result.reason)


async def _stopped(front: Front, make: Callable[[], Evidence], wait_s: int = 301) -> None:
    """Approved and told, but stopped: only a quorum would end that."""
    await front.link.stop(KEY)
    front.clock.advance(wait_s)
    await front.link.lift(KEY, make())


def _late(front_time: int = NOW + 301) -> Office:
    return replace(OFFICE, now=front_time)


def resume(*by: Person, created: int = NOW + 1, **other: object) -> Evidence:
    """A key.resume as it would be approved five minutes after the stop."""
    office = _late()
    return office.evidence(office.resume(created, **other), *by)  # type: ignore[arg-type]


async def _with_root(front: Front) -> None:
    front.leaf()
    await front.advance(evidence(), root=bytes(32))


async def _with_time(front: Front) -> None:
    front.leaf()
    await front.advance(evidence(), newest_leaf_time=NOW - 1)


def _at_once() -> Evidence:
    office = _late(NOW + 10)
    return office.evidence(office.resume(NOW + 1))


def _other_namespace() -> Evidence:
    change = OFFICE.release(DIGEST)
    said = [render(replace(parse(OFFICE.approval(one, change)[0]), step=f"{i}/2 signing"))
            for i, one in enumerate((A, B), start=1)]  # fmt: skip
    return Evidence(encode(change), ((said[0], A.key.sign(said[0], ANCHORS)), (said[1], B.key.sign(said[1], "git"))))


A, B, E = OFFICE.alice, OFFICE.bob, OFFICE.eve
Shape = Callable[[Front], Awaitable[None]]
SHAPES: dict[str, tuple[str, Shape]] = {
    "leaves not opened": ("LEAF_NOT_OPENED", lambda f: _opened(f, lambda *_: Openings((), ()))),
    "the newest leaf not opened": (
        "LEAF_NOT_OPENED",
        lambda f: _opened(f, lambda f, o: Openings(f.log.opened().leaves[:-1], o.evidence)),
    ),
    "one opening too many": (
        "LEAF_NOT_OPENED",
        lambda f: _opened(f, lambda _, o: Openings((*o.leaves, *o.leaves), o.evidence)),
    ),
    "opened as an event": ("INCONSISTENT", _as_event),
    "a leaf of the other kind": ("INCONSISTENT", _other_kind),
    "a leaf of another line": ("INCONSISTENT", _of_other_line),
    "a leaf of another key": ("LEAF_NOT_OPENED", _of_other_key),
    "another digest opened": (
        "INCONSISTENT",
        lambda f: _opened(f, lambda f, o: Openings((*o.leaves, replace(f.leaf(EVIL), digest=DIGEST)), o.evidence)),
    ),
    "a digest of another length": ("DIGEST_LENGTH", _longer_digest),
    "another root": ("INCONSISTENT", _with_root),
    "the newest time is another": ("LEAF_NOT_OPENED", _with_time),
    "more leaves than a message may open": ("TOO_MANY_LEAVES", _too_many),
    "a leaf from the future": ("LEAF_FROM_FUTURE", lambda f: _unapproved(f, evidence(), time=NOW + 60)),
    "dated back behind the mark": ("TIME_WENT_BACK", _dated_back_behind_the_mark),
    "no change record": ("EVIDENCE_MISSING", _unapproved),
    "a change record that is not there": ("EVIDENCE_MISSING", lambda f: _unapproved(f, evidence(), evidence=7)),
    "no approvals": ("RELEASE_QUORUM", lambda f: _unapproved(f, replace(evidence(), approvals=()))),
    "one approval": ("RELEASE_QUORUM", lambda f: _unapproved(f, evidence(A))),
    "one person twice": ("RELEASE_QUORUM", lambda f: _unapproved(f, evidence(A, A))),
    "one person with two keys": ("RELEASE_QUORUM", lambda f: _unapproved(f, evidence(A, as_of(A, OFFICE.second_key)))),
    "two persons of one group": ("RELEASE_QUORUM", lambda f: _unapproved(f, evidence(A, E))),
    "the front end's own keys": ("APPROVAL_KEY", lambda f: _unapproved(f, evidence(Person(A.name), Person(B.name)))),
    "a software key": ("APPROVAL_KEY", lambda f: _unapproved(f, evidence(A, as_of(B, SoftKey.make(ED25519))))),
    "an officer who is no approver": ("APPROVAL_KEY", lambda f: _unapproved(f, evidence(A, OFFICE.officers[0]))),
    "touched without PIN": ("APPROVAL_FLAGS", lambda f: _unapproved(f, evidence(flags=0x01))),
    "not even touched": ("APPROVAL_FLAGS", lambda f: _unapproved(f, evidence(flags=0x00))),
    "a key that can be copied": ("APPROVAL_FLAGS", lambda f: _unapproved(f, evidence(flags=0x0D))),
    "expired approvals": (
        "APPROVAL_EXPIRED",
        lambda f: _unapproved(f, evidence(issued=NOW - 9_000, expires=NOW - 6_000)),
    ),
    "approvals of tomorrow": (
        "APPROVAL_EXPIRED",
        lambda f: _unapproved(f, evidence(issued=NOW + 9_000, expires=NOW + 9_999)),
    ),
    "approvals that last for ever": (
        "APPROVAL_EXPIRED",
        lambda f: _unapproved(f, evidence(expires=NOW + 6 * 86_400)),
    ),
    "another digest approved": ("RELEASE_DIGEST", lambda f: _unapproved(f, evidence(), digest=EVIL)),
    "the approved digest under a higher counter": (
        "RELEASE_SECURITY_VERSION",
        lambda f: _unapproved(f, evidence(), security_version=9),
    ),
    "one evil leaf among forty": ("RELEASE_DIGEST", _one_evil_among_many),
    "two changes crossed": ("RELEASE_DIGEST", _two_changes_crossed),
    "another algorithm": ("RELEASE_DIGEST", _other_algorithm),
    "the digest put in afterwards": (
        "APPROVAL_STATEMENT",
        lambda f: _unapproved(f, forged(evidence(), request=OFFICE.release(EVIL).request), digest=EVIL),
    ),
    "the manifest left as it was": (
        "RELEASE_CHANGE",
        lambda f: _unapproved(
            f,
            forged(evidence(), request=OFFICE.release(DIGEST).request.replace(DIGEST.hex(), EVIL.hex())),
            digest=EVIL,
        ),
    ),
    "a change for less": (
        "RELEASE_QUORUM",
        lambda f: _unapproved(
            f,
            OFFICE.evidence(
                OFFICE.release(DIGEST, required=structs.replace(OFFICE.release(DIGEST).required, quorum=0)), A
            ),
        ),
    ),
    "another spelling of the change": (
        "CHANGE_ENCODING",
        lambda f: _unapproved(f, replace(evidence(), change=evidence().change.replace(b",", b", ", 1))),
    ),
    "no change at all": ("CHANGE_ENCODING", lambda f: _unapproved(f, replace(evidence(), change=b"please"))),
    "of another deployment": (
        "RELEASE_CHANGE",
        lambda f: _unapproved(f, OFFICE.evidence(OFFICE.release(DIGEST, deployment="lab"))),
    ),
    "for another line": (
        "RELEASE_CHANGE",
        lambda f: _unapproved(f, OFFICE.evidence(OFFICE.release(DIGEST, line="dev/kit/local/test/other"))),
    ),
    "of another kind": (
        "RELEASE_CHANGE",
        lambda f: _unapproved(f, OFFICE.evidence(OFFICE.release(DIGEST, kind="key.issue"))),
    ),
    "approved by its own maker": (
        "APPROVAL_SELF",
        lambda f: _unapproved(f, OFFICE.evidence(OFFICE.release(DIGEST, creator_person=A.name))),
    ),
    "nobody is named as its maker": (
        "RELEASE_QUORUM",
        lambda f: _unapproved(f, OFFICE.evidence(OFFICE.release(DIGEST, creator_person=""))),
    ),
    "a statement that rejects": ("APPROVAL_STATEMENT", lambda f: _unapproved(f, rejecting())),
    "signatures exchanged": ("APPROVAL_SIGNATURE", lambda f: _unapproved(f, swapped(evidence()))),
    "signed for another purpose": ("APPROVAL_SIGNATURE", lambda f: _unapproved(f, _other_namespace())),
    "a leaf never told": ("", _never_told),
    "a leaf under an older head": ("", _told_under_an_older_head),
    "an event as a leaf": ("NOT_IN_LOG", _event_as_leaf),
    "a head of events alone": ("NOTHING_TO_SIGN", _head_of_events),
    "free text": ("BAD_REQUEST", lambda f: f.raw(type="Sign", id=1, data=b"text")),
    "a worker's message": ("BAD_REQUEST", lambda f: f.raw(type="WorkerSign", id=1, jobs=[[KEY, 0x1041, 0, 64, EVIL]])),
    "a release to end a stop": ("RELEASE_CHANGE", lambda f: _stopped(f, evidence)),
    "one person ends a stop": ("RELEASE_QUORUM", lambda f: _stopped(f, lambda: resume(A))),
    "another key's stop": ("RELEASE_CHANGE", lambda f: _stopped(f, lambda: resume(key="fw2"))),
    "approved before the stop": ("LIFT_STALE", lambda f: _stopped(f, lambda: resume(created=NOW - 1))),
    "a stop ended at once": ("STOP_TOO_YOUNG", lambda f: _stopped(f, _at_once, wait_s=10)),
    "a stop ended by nobody": ("CHANGE_ENCODING", lambda f: _stopped(f, lambda: Evidence(b"please", ()))),
    "everything ended by anybody": ("NOT_PERMITTED", lambda f: f.link.lift(None, evidence())),
}
ONLY = {"an event as a leaf": "direct", "a leaf under an older head": "direct", "a head of events alone": "proof"}
MODES = [ONLY.get(name, ("direct", "proof")[at % 2]) for at, name in enumerate(SHAPES)]
