"""Answers that leave together: a write that may wait for the one after it.

gRPC's core can hold a message until the next one (GRPC_WRITE_BUFFER_HINT), so that answers which are ready at the same
time share a TLS record and a system call; grpc.aio has no argument for that. It passes the one flag that
`disable_next_message_compression` asks for, and reads it from a class of its own each time: here it says both. Nothing
that this process sends is compressed anyway.

Guarantees: what is held leaves with the next write, or at the end of the call; it is at most 64 KiB of a stream
(grpc.http2.write_buffer_size), and a write beyond that waits as ever. With a grpc that has its flags elsewhere, every
write leaves at once. Does not: know whether there is a next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc._cython import cygrpc

if TYPE_CHECKING:
    from sealpress.rpc.interceptors import Context


def enable() -> bool:
    """From now on `hold` does so, in all of this process; False: this grpc cannot."""
    flags = getattr(cygrpc, "WriteFlag", None)
    both = getattr(flags, "no_compress", 0) | getattr(flags, "buffer_hint", 0)
    if flags is not None and both:
        flags.no_compress = both
    return bool(both)


def hold(context: Context) -> None:
    """What is written next on this call may wait for what is written after it."""
    context.disable_next_message_compression()
