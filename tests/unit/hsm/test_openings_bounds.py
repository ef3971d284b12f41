"""High-trust logs: what one message can cost the guard, on whose loop its approvals are verified."""

from __future__ import annotations

import hashlib

import pytest

from kit.firmware import LINE, Office
from sealpress.errors import Malformed
from sealpress.hsm import messages as m
from sealpress.hsm.openings import Wanted, demand
from sealpress.hsm.pinned import Pinned
from sealpress.values import DigestAlgorithm

NOW = 1_800_000_000
OFFICE = Office(NOW)
DIGEST = hashlib.sha256(b"1").digest()
RECORDS = m.ADVANCE_APPROVALS_MAX // m.APPROVALS_MAX + 1


def shown(approvals: int) -> m.Evidence:
    """A record whose genuine approvals are there again and again."""
    held = OFFICE.evidence(OFFICE.release(DIGEST))
    pairs = (held.approvals * approvals)[:approvals]
    return m.Evidence(held.change, tuple(m.Approval(*pair) for pair in pairs))


def test_an_advance_shows_no_more_approvals_than_the_guard_has_time_for() -> None:
    """Genuine ones, shown many times: refused before the first is verified."""
    evidence = [shown(m.APPROVALS_MAX)] * RECORDS
    wanted = [Wanted(LINE, DigestAlgorithm.SHA256, DIGEST, 0, NOW, position) for position in range(RECORDS)]
    with pytest.raises(Malformed) as caught:
        demand(wanted, evidence, Pinned(OFFICE.document()))
    assert caught.value.reason == "TOO_MANY_APPROVALS"


def test_records_that_no_leaf_cites_cost_their_approvals_too() -> None:
    """The bound is one of the message; as many as it allows are heard."""
    anchors = Pinned(OFFICE.document())
    with pytest.raises(Malformed) as caught:
        demand([], [shown(m.APPROVALS_MAX)] * RECORDS, anchors)
    assert caught.value.reason == "TOO_MANY_APPROVALS"
    demand([], [shown(m.APPROVALS_MAX)] * (RECORDS - 1), anchors)
