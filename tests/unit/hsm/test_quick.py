"""The packet of one operation: it says what the frame says, and nothing else passes for one."""

from __future__ import annotations

import struct

import pytest

from sealpress.errors import Malformed
from sealpress.hsm import frames as f
from sealpress.hsm import quick
from sealpress.hsm import work as w

KEYS = (w.WorkerKey("a", b"\1", "a", b""), w.WorkerKey("b", b"\2", "b", b""))
NUMBERS = {"a": 0, "b": 1}
PLAIN = w.WorkerJob("b", 0xD, 3, 512, b"digest")
WHOLE = w.WorkerJob("a", 0x1041, 0, 64, b"d" * 32, w.Whole(0x1044, b"the message"))
ANSWER = struct.pack("<8sQQII", b"SPSIG\0\0\1", 7, 1_000, 9, 0) + b"signature"


def packed(*jobs: w.WorkerJob) -> bytes | None:
    """As the guard sends them."""
    return quick.ask(w.WorkerSign(7, jobs, 1 << 62), NUMBERS)


@pytest.mark.parametrize("job", [PLAIN, WHOLE])
def test_an_ask_says_what_its_frame_would(job: w.WorkerJob) -> None:
    """One operation, with or without its message, comes out of the packet as it went in."""
    packet = packed(job)
    assert packet is not None
    assert quick.asked(memoryview(packet), KEYS) == w.WorkerSign(7, (job,), 1 << 62)


def test_what_has_no_packet_of_its_own_is_a_frame() -> None:
    """Several operations, a key that the worker was not given, and what would not be one packet."""
    assert packed(PLAIN, PLAIN) is None
    assert packed(w.WorkerJob("c", 0xD, 0, 512, b"digest")) is None
    assert packed(w.WorkerJob("a", 0x1D, 0, 64, bytes(quick.DATA_BYTES_MAX + 1))) is None
    assert quick.asked(memoryview(f.frame(w.WorkerPing(1))), KEYS) is None
    assert quick.answered(memoryview(f.frame(w.WorkerPong(1, 1))), 1) is None


def test_an_ask_that_is_none_is_refused() -> None:
    """Cut anywhere, longer than it says, or of a key beyond those that were opened."""
    packet = packed(WHOLE)
    assert packet is not None
    for wrong in (*(packet[:size] for size in range(8, len(packet))), packet + b"x"):
        with pytest.raises(Malformed):
            quick.asked(memoryview(wrong), KEYS)
    with pytest.raises(Malformed):
        quick.asked(memoryview(packet), KEYS[:0])


def test_an_answer_is_a_signature_and_leaves_the_sessions_as_they_were() -> None:
    """Its signature, whole; cut anywhere or longer than it says it is none."""
    result = w.WorkerResult(b"signature", 0, 1_000, True)
    assert quick.answered(memoryview(ANSWER), 3) == w.WorkerSigned(7, (result,), 3)
    for wrong in (*(ANSWER[:size] for size in range(8, len(ANSWER))), ANSWER + b"x"):
        with pytest.raises(Malformed):
            quick.answered(memoryview(wrong), 3)
