"""Frames: whole messages out of any cut of the stream, and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from sealpress.errors import Malformed
from sealpress.hsm import messages as m

SEAL = m.Seal(7, "a/b/1", 5, ("k",))


def raw(**fields: object) -> bytes:
    """A frame with any map in it."""
    body = msgspec.msgpack.encode(fields)
    return m.PREFIX.pack(len(body)) + body


def test_any_cut_of_the_stream_gives_the_same_messages() -> None:
    """Byte by byte or at once."""
    data = m.frame(SEAL) + m.frame(m.Status(8)) + m.frame(m.Stop(9, None))
    frames = m.Frames(m.ask_decoder)
    got = [message for at in range(len(data)) for message in frames.feed(data[at : at + 1])]

    assert got == [SEAL, m.Status(8), m.Stop(9, None)]
    assert m.Frames(m.ask_decoder).feed(data) == got


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
        raw(type="Direct", id=1, key="k", size=5, items=[[bytes(61), bytes(32), 1, b"", b"more"]]),
        raw(type="Direct", id=1, key="k", size=5, items=[[bytes(60), bytes(32), 1, b""]]),
        raw(type="Direct", id=1, key="k", size=5, items=[]),
        raw(type="Direct", id=1, key="k", size=5, items=[[bytes(61), bytes(65), 1, b""]]),
        raw(type="WorkerSign", id=1, jobs=[]),
        raw(id=1),
        m.PREFIX.pack(4) + b"text",
        m.PREFIX.pack(0),
    ],
)
def test_free_text_is_no_message(data: bytes) -> None:
    """Unknown types, fields, sizes and leftovers do not decode."""
    with pytest.raises(Malformed) as caught:
        m.Frames(m.ask_decoder).feed(data)
    assert caught.value.reason == "BAD_REQUEST"


def test_an_oversized_frame_is_refused_before_it_is_read() -> None:
    """The length alone is enough."""
    with pytest.raises(Malformed) as caught:
        m.Frames(m.ask_decoder).feed(m.PREFIX.pack(m.FRAME_BYTES_MAX + 1))
    assert caught.value.reason == "TOO_LARGE"
