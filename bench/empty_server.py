"""An empty handler of the same server: our listener's options, TLS files and loop, and methods that do nothing.

    python empty_server.py CERT KEY CLIENT_CA         of grpc.aio's server as it is
    python empty_server.py CERT KEY CLIENT_CA ours    of one that takes up calls as our listeners do

Prints its address and serves until its standard input ends, so it cannot outlive the benchmark that started it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from sealpress import loop
from sealpress.config import Limits
from sealpress.rpc import accepting
from sealpress.rpc.server import options
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import signing_pb2_grpc


class Empty(signing_pb2_grpc.SigningServiceServicer):
    """Answers at once, with nothing."""

    async def Sign(self, request: pb.SignRequest, context: Any) -> pb.SignResponse:
        """Nothing."""
        return pb.SignResponse()

    async def SignBatch(self, request: pb.SignBatchRequest, context: Any) -> pb.SignBatchResponse:
        """Nothing."""
        return pb.SignBatchResponse()

    async def SignStream(self, requests: AsyncIterator[pb.SignRequest], context: Any) -> AsyncIterator[pb.SignResponse]:
        """Nothing, once per item."""
        async for _ in requests:
            yield pb.SignResponse()


async def serve(cert: bytes, key: bytes, client_ca: bytes, ours: bool) -> int:
    """Until standard input ends."""
    server = accepting.server(options(Limits())) if ours else grpc.aio.server(options=options(Limits()))
    signing_pb2_grpc.add_SigningServiceServicer_to_server(Empty(), server)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_server_credentials([(key, cert)], client_ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(loop.run(serve(*[Path(name).read_bytes() for name in sys.argv[1:4]], sys.argv[4:] == ["ours"])))
