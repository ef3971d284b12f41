"""The signer's own check of high-trust logs: every new leaf is opened, and each signature was approved.

For a log of class firmware or root the front end is not believed that its log grew honestly. `Advance` brings what the
new leaves are made of; the guard builds each of them itself, folds the new root from them and its mark, and demands for
each signature leaf a change record that lists exactly this digest, under the quorum of the anchors that the signer
itself holds. So under an accepted head there is no leaf that nobody approved, whoever wrote the log.

An approval counts at the time that the leaf states: the leaf is the act. A leaf cannot be dated back into an approval's
window and still serve: T is never behind our clock, and a leaf counts for 300 seconds.

A head whose leaves lack their approvals is refused, and so is every later head of that log, for it holds those leaves:
the log is dead, and root quorum closes it (next number; the line's key moves along). That is by design. Only a front
end that was taken over appends such a leaf: an honest one decides before it appends. A front end that merely lacks the
evidence for the moment comes again.

Guarantees: what `open_range` returns are the subtrees of exactly these leaves; `demand` is silent only if each
signature leaf was approved. Bounded: leaves, records and checks of one message. Does not: keep state, or count how
often an approved digest is signed while its approvals last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sealpress.core import leaf
from sealpress.core.merkle import merkle_root
from sealpress.errors import CoreError, Invalid, Malformed, NotPermitted
from sealpress.hsm import messages as m
from sealpress.hsm.heads import HeadLimits, check_ahead
from sealpress.hsm.keytable import GuardKey
from sealpress.hsm.mark import HeadMark
from sealpress.values import DigestAlgorithm, LeafKind
from sealpress.verify.anchors import Release
from sealpress.verify.evidence import Evidence

_TIME = slice(5, 13)  # of an opening
_SECURITY_VERSION = slice(1, 5)
_HASH = 32


class ReleaseCheck(Protocol):
    """The anchors' judgement (pinned.py)."""

    def release(self, evidence: Evidence, line: str, now: int) -> Release:
        """What the line's quorum approved, as it stood at that time; Invalid if it did not."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leaf that a line key answers for."""

    line: str
    algorithm: DigestAlgorithm
    digest: bytes
    security_version: int
    time: int
    evidence: int


@dataclass(frozen=True, slots=True)
class Range:
    """The new leaves of a log, built by ourselves."""

    growth: bytes  # the perfect subtrees that lead from the mark to the new size
    wanted: tuple[Wanted, ...]


def open_range(
    ask: m.Advance,
    mark: HeadMark,
    log_name: str,
    keys: Mapping[bytes, GuardKey],
    now: int,
    limits: HeadLimits,
    leaves_max: int,
) -> Range:
    """Build every new leaf; `keys` are those of this log by key id, also those that only verify."""
    if len(ask.leaves) > leaves_max:
        raise Malformed(f"more than {leaves_max} leaves in one advance", reason="TOO_MANY_LEAVES")
    if len(ask.leaves) != max(0, ask.size - mark.size):
        raise Malformed("this log opens every new leaf, and these are not as many", reason="LEAF_NOT_OPENED")
    hashes = bytearray()
    wanted: list[Wanted] = []
    last = mark.time
    for opened in ask.leaves:
        if isinstance(opened, m.EventLeaf):
            time = opened.time
            hashes += _event(opened, log_name)
        else:
            time = int.from_bytes(opened.opening[_TIME])
            hashed, want = _signature(opened, keys, time)
            hashes += hashed
            wanted.append(want)
        if time < last:
            raise Malformed("a leaf is older than the one before it", reason="TIME_WENT_BACK")
        check_ahead(time, now, limits)
        last = time
    if ask.leaves and last != ask.newest_leaf_time:
        raise Malformed("the newest leaf has another time than was told", reason="LEAF_NOT_OPENED")
    return Range(growth(bytes(hashes), mark.size), tuple(wanted))


def growth(hashes: bytes, first: int) -> bytes:
    """The perfect subtrees over these leaf hashes, whose first has the index `first`: `Tree.growth`, from leaves."""
    at, end = first, first + len(hashes) // _HASH
    subtrees = bytearray()
    while at < end:
        width = at & -at if at else 1 << (end.bit_length() - 1)
        while at + width > end:
            width >>= 1
        part = hashes[_HASH * (at - first) : _HASH * (at - first + width)]
        subtrees += merkle_root(part)
        at += width
    return bytes(subtrees)


def demand(wanted: Sequence[Wanted], evidence: Sequence[m.Evidence], anchors: ReleaseCheck) -> None:
    """Every signature leaf was approved, or NotPermitted with the reason why one was not.

    A change record is judged at the times of the first and the last leaf that cite it: every approval must count at
    both, and so it counts at all times between.
    """
    if sum(len(one.approvals) for one in evidence) > m.ADVANCE_APPROVALS_MAX:
        raise Malformed(
            f"more than {m.ADVANCE_APPROVALS_MAX} approvals in one advance: show fewer leaves",
            reason="TOO_MANY_APPROVALS",
        )
    groups: dict[tuple[int, str], list[Wanted]] = {}
    for want in wanted:
        if want.evidence >= len(evidence):
            raise NotPermitted("a leaf names no change record", reason="EVIDENCE_MISSING")
        groups.setdefault((want.evidence, want.line), []).append(want)
    for (position, line), cited in groups.items():
        shown = proof_of(evidence[position])
        try:
            for time in {cited[0].time, cited[-1].time}:
                release = anchors.release(shown, line, time)
        except (Invalid, Malformed) as error:
            raise NotPermitted(f"a new leaf was not approved: {error.message}", reason=error.reason) from None
        for want in cited:
            if want.algorithm is not release.algorithm or want.digest not in release.digests:
                raise NotPermitted("the change does not list a new leaf's digest", reason="RELEASE_DIGEST")
            if want.security_version != release.security_version:
                raise NotPermitted(
                    "a new leaf's security_version is not the approved one", reason="RELEASE_SECURITY_VERSION"
                )


def check_answering(newest: int, now: int, limits: HeadLimits) -> None:
    """A line of an opened log signs a head only while an approved leaf can use it; `newest`: time of the last one."""
    if now > newest + limits.leaf_age_s_max:
        raise NotPermitted("no approved leaf waits for this head", reason="NOTHING_TO_SIGN")


def proof_of(shown: m.Evidence) -> Evidence:
    """As the verifier takes it."""
    return Evidence(shown.change, tuple((one.statement, one.signature) for one in shown.approvals))


def _event(opened: m.EventLeaf, log_name: str) -> bytes:
    scope = leaf.scope(log_name, "")
    spec = leaf.LeafSpec(LeafKind.EVENT, 0, bytes(32), scope, 0, opened.time, opened.record)
    return leaf.leaf_hashes(spec, None, None, 1)


def _signature(opened: m.SignatureLeaf, keys: Mapping[bytes, GuardKey], time: int) -> tuple[bytes, Wanted]:
    key = keys.get(opened.key_id)
    if key is None:
        raise Malformed("a leaf is of a key that this log does not have", reason="LEAF_NOT_OPENED")
    kind = LeafKind.PROOF if key.cosigner is not None else LeafKind.DIRECT
    try:
        algorithm = DigestAlgorithm(opened.opening[0])
        if len(opened.digest) != algorithm.size:
            raise ValueError
        hashed = leaf.leaf_hash_opened(kind, key.key_id, key.scope, opened.opening, opened.digest)
    except (CoreError, ValueError):
        raise Malformed("a leaf's digest is not of its algorithm", reason="DIGEST_LENGTH") from None
    version = int.from_bytes(opened.opening[_SECURITY_VERSION])
    return hashed, Wanted(key.line, algorithm, opened.digest, version, time, opened.evidence)
