"""The plain HTTP listener: tiles of the logs for monitors, /metrics for Prometheus, /healthz for load balancers.

Guarantees: read only, no secrets, nobody is asked who he is; at most CONNECTIONS_MAX connections, where a new one takes
the place of the oldest, so that idle ones keep nobody out; GET and HEAD of short lines, bodies are not read; nothing
that a reader sends is logged. Does not: encrypt (put a proxy with a cache before it if readers come from outside), or
limit the rate of a reader.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sealpress.errors import CannotStart
from sealpress.flow import Flow
from sealpress.rpc.tiles import Tiles
from sealpress.telemetry import Telemetry

BODY_BYTES_MAX = 1_024
LINE_BYTES_MAX = 2_048
HEADERS_MAX = 64
CONNECTIONS_MAX = 256
IDLE_S_MAX = 30.0


def _is_ours(record: logging.LogRecord) -> bool:
    """Not what is no HTTP: aiohttp tells each with a traceback, and whoever can connect could fill our log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_LOGGER = logging.getLogger(__name__)
_LOGGER.addFilter(_is_ours)


class HttpServer:
    """Routes at one address, bounded."""

    def __init__(self, routes: Iterable[web.RouteDef]) -> None:
        """Not listening yet."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_routes(routes)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_LOGGER,
            handle_signals=False,
            shutdown_timeout=1,
            keepalive_timeout=IDLE_S_MAX,
            lingering_time=0,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use. An IPv6 address has its brackets, as in [[listen]]. CannotStart PORT_IN_USE."""
        await self._runner.setup()
        bare = host.removeprefix("[").removesuffix("]")
        try:
            self._server = await asyncio.get_running_loop().create_server(self._connected, bare, port)
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host}:{port}: {error.strerror}",
                reason="PORT_IN_USE",
                hint="another process has the port, or it is not an address of this machine, or not for this user: "
                "see [[listen]]",
            ) from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _connected(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        connections = server.connections
        if len(connections) >= CONNECTIONS_MAX:
            connections[0].force_close()  # in order of their coming
        return server()


class HttpListener(HttpServer):
    """What a node serves there."""

    def __init__(self, flow: Flow, telemetry: Telemetry) -> None:
        """Not listening yet. ConfigError if two logs would be read at one place."""
        self._flow = flow
        self._telemetry = telemetry
        self._tiles = Tiles(flow.shared.logs.values())
        own = [web.get("/metrics", self._metrics), web.get("/healthz", self._healthz)]
        super().__init__([*own, *self._tiles.routes()])

    async def close(self) -> None:
        """Stop listening."""
        await super().close()
        self._tiles.close()

    async def _metrics(self, _request: web.Request) -> web.Response:
        for log in self._flow.shared.logs.values():
            self._telemetry.gauges(log.id, len(log.queue), log.sealed_size)
        return web.Response(body=self._telemetry.exposition(), content_type="text/plain", charset="utf-8")

    async def _healthz(self, _request: web.Request) -> web.Response:
        shared = self._flow.shared
        if shared.failed is not None or shared.draining:
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")
