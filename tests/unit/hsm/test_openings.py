"""High-trust logs: are the opened leaves the tree, and was each signature approved?"""

from __future__ import annotations

import hashlib
import random

import pytest

from kit.firmware import KEY, LINE, Office, OpenedLog
from sealpress.core import leaf
from sealpress.core.merkle import Tree, frontier_advance
from sealpress.errors import NotPermitted, Refusal
from sealpress.hsm import messages as m
from sealpress.hsm.heads import HeadLimits
from sealpress.hsm.keytable import GuardKey
from sealpress.hsm.leaves import EventLeaf
from sealpress.hsm.mark import HeadMark
from sealpress.hsm.openings import Range, Wanted, check_answering, demand, growth, open_range
from sealpress.hsm.pinned import Pinned
from sealpress.hsm.signatures import Cosigner
from sealpress.values import DigestAlgorithm, KeyClass, LeafKind
from sealpress.verify.evidence import Evidence

NOW = 1_800_000_000
LIMITS = HeadLimits(leaf_age_s_max=300, clock_ahead_s_max=2, leaves_per_minute_max=1_000)
SPKI = bytes.fromhex(
    "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)  # RFC 8032, test 1
ORIGIN = "dev.example/fw/1"
OFFICE = Office(NOW)


def key_of(log: OpenedLog) -> GuardKey:
    """The proof key of the line."""
    key_id, scope = leaf.key_id(SPKI), leaf.scope(log.name, LINE)
    return GuardKey(
        name=KEY, origin=ORIGIN, line=LINE, class_=KeyClass.FIRMWARE, slots=("s1",), spki=SPKI, key_id=key_id,
        scope=scope, cka_id=b"\1", cka_label="", active=True, cosigner=Cosigner(SPKI), line_key=None, scheme=None,
    )  # fmt: skip


def asked(log: OpenedLog, old: int, new: int, *evidence: Evidence) -> m.Advance:
    """An honest advance over these leaves."""
    leaves = tuple(
        m.EventLeaf(one.record, one.time)
        if isinstance(one, EventLeaf)
        else m.SignatureLeaf(one.key_id, one.opening, one.digest, one.evidence)
        for one in log.leaves[old:new]
    )
    shown = tuple(m.Evidence(one.change, tuple(m.Approval(*pair) for pair in one.approvals)) for one in evidence)
    last = log.leaves[new - 1]
    time = last.time if isinstance(last, EventLeaf) else int.from_bytes(last.opening[5:13])
    return m.Advance(1, ORIGIN, new, log.tree.root(new), b"", time, leaves, shown)


def mark_at(log: OpenedLog, size: int, time: int = NOW) -> HeadMark:
    """The mark of an honest log at this size."""
    return HeadMark(ORIGIN, size, log.tree.root(size), log.tree.frontier(size), time)


def opened(log: OpenedLog, ask: m.Advance, mark: HeadMark, leaves_max: int = 1_000) -> Range:
    """As the guard does it."""
    key = key_of(log)
    return open_range(ask, mark, log.name, {key.key_id: key}, NOW, LIMITS, leaves_max)


def test_growth_is_that_of_the_tree() -> None:
    """From any size to any larger one up to 70, and at random up to 5,000: the same subtrees, the same new root."""
    draw = random.Random(20)
    hashes = draw.randbytes(32 * 5_000)
    tree = Tree()
    tree.append(hashes)
    pairs = [(old, new) for old in range(70) for new in range(old + 1, 71)]
    pairs += [tuple(sorted(draw.sample(range(5_001), 2))) for _ in range(100)]  # type: ignore[misc]
    for old, new in pairs:
        path = growth(hashes[32 * old : 32 * new], old)
        assert path == tree.growth(old, new)
        assert frontier_advance(old, tree.frontier(old), new, path, tree.root(new)) == tree.frontier(new)


def test_random_logs_open_to_their_own_trees() -> None:
    """Events and signatures mixed, told in random parts: each part's subtrees lead to the tree's own next root."""
    for seed in range(30):
        draw = random.Random(seed)
        log, digests = OpenedLog(ORIGIN), []
        for _ in range(draw.randrange(1, 120)):
            if draw.random() < 0.5:
                log.event(NOW)
            else:
                algorithm = draw.choice(list(DigestAlgorithm))
                digests.append(draw.randbytes(algorithm.size))
                log.sign(LeafKind.PROOF, SPKI, digests[-1], NOW, algorithm=algorithm)
        told, wanted = 0, []
        while told < log.tree.size:
            size = draw.randrange(told, log.tree.size) + 1
            found = opened(log, asked(log, told, size), mark_at(log, told))
            assert found.growth == log.tree.growth(told, size)
            wanted += found.wanted
            told = size
        assert digests == [want.digest for want in wanted]


def test_a_changed_opening_never_gives_the_root() -> None:
    """Each byte of opening, digest, record and time decides: one bit elsewhere, and it is another tree."""
    log = OpenedLog(ORIGIN)
    log.event(NOW - 1)
    made = log.sign(LeafKind.PROOF, SPKI, bytes(32), NOW)
    ask = asked(log, 0, 2)
    honest = opened(log, ask, mark_at(log, 0, 0)).growth
    event, signature = ask.leaves
    assert isinstance(event, m.EventLeaf)
    assert isinstance(signature, m.SignatureLeaf)
    other = [replace_leaf(signature, opening=flipped(made.opening, at)) for at in (1, 4, *range(13, 61))]
    other += [replace_leaf(signature, digest=flipped(made.digest, at)) for at in range(32)]
    for changed in other:
        lie = m.Advance(1, ORIGIN, 2, ask.root, b"", NOW, (event, changed))
        assert opened(log, lie, mark_at(log, 0, 0)).growth != honest
    for wrong in (m.EventLeaf(flipped(event.record, 3), event.time), m.EventLeaf(event.record, event.time - 1)):
        lie = m.Advance(1, ORIGIN, 2, ask.root, b"", NOW, (wrong, signature))
        assert opened(log, lie, mark_at(log, 0, 0)).growth != honest


def flipped(raw: bytes, at: int) -> bytes:
    """One bit is another."""
    return raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]


def replace_leaf(signature: m.SignatureLeaf, **change: bytes) -> m.SignatureLeaf:
    """The same leaf with other fields."""
    fields = {"opening": signature.opening, "digest": signature.digest, **change}
    return m.SignatureLeaf(signature.key_id, fields["opening"], fields["digest"], signature.evidence)


def wants(digest: bytes, time: int = NOW, evidence: int = 0, security_version: int = 0) -> Wanted:
    """A leaf of the line."""
    return Wanted(LINE, DigestAlgorithm.SHA256, digest, security_version, time, evidence)


def shown(*evidence: Evidence) -> list[m.Evidence]:
    """As in the message."""
    return [m.Evidence(one.change, tuple(m.Approval(*pair) for pair in one.approvals)) for one in evidence]


def test_a_record_is_judged_at_every_time_it_is_cited() -> None:
    """Approvals that count at the first leaf and no more at the last are no approvals of the range."""
    digests = [hashlib.sha256(i.to_bytes(2)).digest() for i in range(300)]
    release = OFFICE.evidence(OFFICE.release(*digests), expires=NOW + 100)
    anchors = Pinned(OFFICE.document())
    demand([wants(digest, NOW + i // 3) for i, digest in enumerate(digests)], shown(release), anchors)
    demand([], [], anchors)
    with pytest.raises(NotPermitted) as caught:
        demand([wants(digests[0]), wants(digests[1], NOW + 500)], shown(release), anchors)
    assert caught.value.reason == "APPROVAL_EXPIRED"


def test_each_leaf_needs_its_own_record() -> None:
    """Two records, each for its digest: right they are silent, crossed or beyond the list they refuse."""
    one, two = (hashlib.sha256(name).digest() for name in (b"1", b"2"))
    both = shown(OFFICE.evidence(OFFICE.release(one)), OFFICE.evidence(OFFICE.release(two)))
    anchors = Pinned(OFFICE.document())
    demand([wants(one, evidence=0), wants(two, evidence=1), wants(one, evidence=0)], both, anchors)
    for position, reason in ((0, "RELEASE_DIGEST"), (2, "EVIDENCE_MISSING")):
        with pytest.raises(NotPermitted) as caught:
            demand([wants(one), wants(two, evidence=position)], both, anchors)
        assert caught.value.reason == reason


def test_the_counter_is_the_approved_one() -> None:
    """An approved digest under another anti-rollback counter is refused; under its own it is not."""
    digest = hashlib.sha256(b"1").digest()
    release = shown(OFFICE.evidence(OFFICE.release(digest, security_version=7)))
    anchors = Pinned(OFFICE.document())
    demand([wants(digest, security_version=7)], release, anchors)
    for wrong in (0, 6, 8):
        with pytest.raises(NotPermitted) as caught:
            demand([wants(digest, security_version=wrong)], release, anchors)
        assert caught.value.reason == "RELEASE_SECURITY_VERSION"


def test_anchors_that_expired_approve_nothing() -> None:
    """The document has an end, too."""
    digest = bytes(32)
    release = shown(OFFICE.evidence(OFFICE.release(digest)))
    with pytest.raises(NotPermitted) as caught:
        demand([wants(digest)], release, Pinned(OFFICE.document(expires=NOW)))
    assert caught.value.reason == "ANCHORS_EXPIRED"


def test_a_line_signs_heads_only_for_young_leaves() -> None:
    """Until 300 seconds after the newest approved leaf."""
    check_answering(NOW - 300, NOW, LIMITS)
    with pytest.raises(Refusal) as caught:
        check_answering(NOW - 301, NOW, LIMITS)
    assert caught.value.reason == "NOTHING_TO_SIGN"
