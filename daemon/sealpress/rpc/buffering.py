"""Answers that leave together: a write that waits for the one after it.

gRPC's core can buffer a message until the next one (GRPC_WRITE_BUFFER_HINT), so that answers which are ready at the
same time share a TLS record and a system call, and wake the caller once; grpc.aio has no argument for that. It passes
the one flag that `disable_next_message_compression` asks for, and reads it from a class of its own each time: here it
says both. Nothing that this process sends is compressed anyway.

The first message of a stream must not be buffered: the headers go with it, and its write does not end before they are
sent. No write would follow, and both would wait for whatever else makes the core write to this connection, often the
answer to a ping of its bandwidth probe, which comes up to seconds later.

Guarantees: what is buffered leaves with the next write, or at the end of the call; it is at most 64 KiB of a stream
(grpc.http2.write_buffer_size), and a write beyond that waits as ever. With a grpc that has its flags elsewhere, every
write leaves at once. Does not: know whether there is a next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc._cython import cygrpc

if TYPE_CHECKING:
    from sealpress.rpc.interceptors import Context


def enable() -> bool:
    """From now on `buffer_next` does so, in all of this process; False: this grpc cannot."""
    flags = getattr(cygrpc, "WriteFlag", None)
    both = getattr(flags, "no_compress", 0) | getattr(flags, "buffer_hint", 0)
    if flags is not None and both:
        flags.no_compress = both
    return bool(both)


def buffer_next(context: Context) -> None:
    """What is written next on this call, and is not its first message, waits for what is written after it."""
    context.disable_next_message_compression()
