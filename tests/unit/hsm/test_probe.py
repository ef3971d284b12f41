"""What a probe asks and how its answers are judged, with a key of this process in the token's place."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.clock import VirtualClock
from sealpress.hsm import work as w
from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.probe import CONTEXT, NAME, Probe

KEY = Ed25519PrivateKey.generate()
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def answers(jobs: Sequence[w.WorkerJob]) -> list[w.WorkerResult]:
    """As a token that is well gives them."""
    return [w.WorkerResult(KEY.sign(job.data), 0, 1, True) for job in jobs]


def test_no_message_is_signed_twice() -> None:
    """Each begins with the context of probes, at one time of the clock too."""
    probe = Probe(SPKI, VirtualClock(), RecentNonces())
    asked = [probe.jobs(4) for _ in range(2)]
    assert {job.key for jobs, _ in asked for job in jobs} == {NAME}
    data = [job.data for jobs, _ in asked for job in jobs]
    assert data == [message for _, messages in asked for message in messages]
    assert len(set(data)) == 8
    assert all(one.startswith(CONTEXT) for one in data)


@pytest.mark.parametrize(
    ("worst", "says"),
    [
        (w.WorkerResult(b"", 0x30, 1, True), "CKR_0x30"),
        (w.WorkerResult(b"", 0x50, 0, False), "CKR_0x50"),
        (w.WorkerResult(bytes(64), 0, 1, True), "WRONG_SIGNATURE"),
    ],
)
def test_one_bad_answer_is_enough(worst: w.WorkerResult, says: str) -> None:
    """Of one for each session; and a missing answer is none."""
    probe = Probe(SPKI, VirtualClock(), RecentNonces())
    jobs, messages = probe.jobs(3)
    good = answers(jobs)
    assert probe.wrong(messages, good) == ""
    assert probe.wrong(messages, [*good[:2], worst]) == says
    assert probe.wrong(messages, good[:2]) == "CKR_NONE"


def test_a_lie_says_more_than_an_error() -> None:
    """Wherever they stand: the slot is quarantined, not only given a rest."""
    probe = Probe(SPKI, VirtualClock(), RecentNonces())
    jobs, messages = probe.jobs(3)
    error, lie = w.WorkerResult(b"", 0x31, 1, True), w.WorkerResult(bytes(64), 0, 1, True)
    assert probe.wrong(messages, [error, answers(jobs)[1], lie]) == "WRONG_SIGNATURE"
