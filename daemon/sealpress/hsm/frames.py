"""How a message crosses the signer's sockets: its frame, and the greeting that both ends begin with.

A frame is `u32 length (little endian) | MessagePack map`, the map's `type` names the message. Front end and guard send
frames end to end; guard and worker have sockets that keep packets apart.

Guarantees: a frame above its bound, and bytes that are no message of the decoder's, do not decode. Does not: know which
messages there are: messages.py (front end and guard) and work.py (guard and worker) do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from sealpress.errors import Malformed

VERSION = 5
FRAME_BYTES_MAX = 12 << 20
PACKET_BYTES = 128 << 10  # between guard and worker; a socket takes at least so much at once
PREFIX = struct.Struct("<I")
_ECHO_MAX = 200  # characters

Id = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """One message; the tag is the class's name."""


class Hello(Message, frozen=True):
    """First message in each direction."""

    version: int


_encoder = msgspec.msgpack.Encoder()

M = TypeVar("M")


def packets(frame: bytes) -> Sequence[bytes]:
    """The frame as it goes between guard and worker, whose sockets keep packets apart: in one, but for large ones."""
    if len(frame) <= PACKET_BYTES:
        return (frame,)
    return [frame[at : at + PACKET_BYTES] for at in range(0, len(frame), PACKET_BYTES)]


def only(decoder: msgspec.msgpack.Decoder[M], packet: memoryview) -> M:
    """The message that is the whole packet; Malformed."""
    if len(packet) < PREFIX.size or PREFIX.unpack_from(packet)[0] != len(packet) - PREFIX.size:
        raise Malformed("a packet is not one message")
    try:
        return decoder.decode(packet[PREFIX.size :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_message(error) from None


def frame(message: msgspec.Struct) -> bytes:
    """The bytes that go over the socket."""
    body = _encoder.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise Malformed("a message to or from the signer is too large", reason="TOO_LARGE")
    return PREFIX.pack(len(body)) + body


def _no_message(error: Exception) -> Malformed:
    """Who sent it chose the names in the error: little of them is told back, or stands in a log."""
    return Malformed(f"not a message of the signer's interface: {str(error)[:_ECHO_MAX]}")


class Frames(Generic[M]):
    """Cuts a stream of bytes into messages."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[M]) -> None:
        """One for each direction of a connection."""
        self._decoder = decoder
        self._held = bytearray()

    def feed(self, data: bytes | memoryview) -> list[M]:
        """The messages that are complete now. Malformed: TOO_LARGE or BAD_REQUEST; the stream is of no more use."""
        if not self._held:
            messages, at = self._cut(memoryview(data))  # mostly all of it, and nothing is copied
            self._held += data[at:]
            return messages
        self._held += data
        with memoryview(self._held) as view:
            messages, at = self._cut(view)
        del self._held[:at]
        return messages

    def _cut(self, data: memoryview) -> tuple[list[M], int]:
        """What is whole in it, and where the rest begins."""
        messages: list[M] = []
        at = 0
        while len(data) - at >= PREFIX.size:
            (size,) = PREFIX.unpack_from(data, at)
            if size > FRAME_BYTES_MAX:
                raise Malformed("a frame is larger than any message may be", reason="TOO_LARGE")
            end = at + PREFIX.size + size
            if len(data) < end:
                break
            try:
                messages.append(self._decoder.decode(data[at + PREFIX.size : end]))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise _no_message(error) from None
            at = end
        return messages, at
