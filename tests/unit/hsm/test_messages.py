"""Frames: whole messages out of any cut of the stream, and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from sealpress.errors import Malformed
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m

SEAL = m.Seal(7, "a/b/1", 5, ("k",))
ADVANCE = {
    "type": "Advance", "id": 1, "origin": "a/b/1", "size": 5, "root": bytes(32), "consistency": b"",
    "newest_leaf_time": 1,
}  # fmt: skip


def raw(**fields: object) -> bytes:
    """A frame with any map in it."""
    body = msgspec.msgpack.encode(fields)
    return f.PREFIX.pack(len(body)) + body


def test_any_cut_of_the_stream_gives_the_same_messages() -> None:
    """Byte by byte or at once."""
    data = f.frame(SEAL) + f.frame(m.Status(8)) + f.frame(m.Stop(9, None))
    frames = f.Frames(m.ask_decoder)
    got = [message for at in range(len(data)) for message in frames.feed(data[at : at + 1])]

    assert got == [SEAL, m.Status(8), m.Stop(9, None)]
    assert f.Frames(m.ask_decoder).feed(data) == got


@pytest.mark.parametrize(
    "data",
    [
        raw(type="Sign", id=1, data=b"free text"),
        raw(type="Seal", id=1, origin="a/b/1", size=5, keys=["k"], message=b"free text"),
        raw(type="Seal", id=1, origin="a/b/1", size=5),
        raw(type="Seal", id=1, origin="a/b/1", size=-5, keys=[]),
        raw(type="Seal", id=1, origin="a/b/1", size=1 << 63, keys=[]),
        raw(type="Seal", id="1", origin="a/b/1", size=5, keys=[]),
        raw(type="Seal", id=0, origin="a/b/1", size=5, keys=[]),
        raw(type="Advance", id=1, origin="a/b/1", size=5, root=bytes(31), consistency=b"", newest_leaf_time=1),
        raw(**ADVANCE, leaves=[["event", bytes(31), 1]]),
        raw(**ADVANCE, leaves=[["event", bytes(32), 1, b"more"]]),
        raw(**ADVANCE, leaves=[["other", bytes(32), 1]]),
        raw(**ADVANCE, leaves=[["signature", bytes(32), bytes(60), bytes(32), 0]]),
        raw(**ADVANCE, leaves=[["signature", bytes(32), bytes(61), bytes(65), 0]]),
        raw(**ADVANCE, leaves=[["signature", bytes(32), bytes(61), bytes(32), -1]]),
        raw(**ADVANCE, leaves=[["event", bytes(32), 1]] * (m.LEAVES_MAX + 1)),
        raw(**ADVANCE, evidence=[[b"", []]] * (m.EVIDENCE_MAX + 1)),
        raw(**ADVANCE, evidence=[[b"", [[b"", ""]] * (m.APPROVALS_MAX + 1)]]),
        raw(**ADVANCE, evidence=[[b"", [[bytes(8_193), ""]]]]),
        raw(**ADVANCE, evidence=[[bytes((8 << 20) + 1), []]]),
        raw(type="Lift", id=1, key="k", evidence=b"please"),
        raw(type="Generate", id=1, key="k", slot="s1", algorithm="p256"),
        raw(type="Destroy", id=1, key="k"),
        raw(type="Direct", id=1, key="k", size=5, items=[[bytes(61), bytes(32), 1, b"", b"more"]]),
        raw(type="Direct", id=1, key="k", size=5, items=[[bytes(60), bytes(32), 1, b""]]),
        raw(type="Direct", id=1, key="k", size=5, items=[]),
        raw(type="Direct", id=1, key="k", size=5, items=[[bytes(61), bytes(65), 1, b""]]),
        raw(type="WorkerSign", id=1, jobs=[]),
        raw(id=1),
        f.PREFIX.pack(4) + b"text",
        f.PREFIX.pack(0),
    ],
)
def test_free_text_is_no_message(data: bytes) -> None:
    """Unknown types, fields, sizes and leftovers do not decode."""
    with pytest.raises(Malformed) as caught:
        f.Frames(m.ask_decoder).feed(data)
    assert caught.value.reason == "BAD_REQUEST"


def test_leaves_and_their_evidence_come_through() -> None:
    """What opens a log is read back as it was sent; a message without any is one of a log that opens nothing."""
    leaves = (m.EventLeaf(bytes(32), 1), m.SignatureLeaf(bytes(32), bytes(61), bytes(48), 0))
    evidence = (m.Evidence(b"{}", (m.Approval(b"statement", "signature"),)),)
    ask = m.Advance(1, "a/b/1", 5, bytes(32), b"", 1, leaves, evidence)
    assert f.Frames(m.ask_decoder).feed(f.frame(ask)) == [ask]
    assert f.Frames(m.ask_decoder).feed(raw(**ADVANCE)) == [m.Advance(1, "a/b/1", 5, bytes(32), b"", 1)]


def test_the_largest_evidence_fits_into_a_frame() -> None:
    """A change record of the largest size with all its approvals, and as many leaves as a message opens."""
    approvals = (m.Approval(bytes(4_096), "s" * 1_024),) * m.APPROVALS_MAX
    leaves = (m.SignatureLeaf(bytes(32), bytes(61), bytes(64), 0),) * m.LEAVES_MAX
    ask = m.Advance(1, "a/b/1", 5, bytes(32), b"", 1, leaves, (m.Evidence(bytes(8 << 20), approvals),))
    assert len(f.frame(ask)) <= f.FRAME_BYTES_MAX


def test_an_oversized_frame_is_refused_before_it_is_read() -> None:
    """The length alone is enough."""
    with pytest.raises(Malformed) as caught:
        f.Frames(m.ask_decoder).feed(f.PREFIX.pack(f.FRAME_BYTES_MAX + 1))
    assert caught.value.reason == "TOO_LARGE"
