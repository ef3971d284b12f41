"""The plain HTTP listener: /metrics for Prometheus and /healthz for load balancers. Read only, no secrets.

Guarantees: bounded requests, no bodies read. Does not: serve anything of the log's contents.
"""

from __future__ import annotations

from aiohttp import web

from sealpress.errors import CannotStart
from sealpress.flow import Flow
from sealpress.telemetry import Telemetry

BODY_BYTES_MAX = 1_024


class HttpListener:
    """One address."""

    def __init__(self, flow: Flow, telemetry: Telemetry) -> None:
        """Not listening yet."""
        self._flow = flow
        self._telemetry = telemetry
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use. CannotStart PORT_IN_USE."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, reuse_port=False)
        try:
            await site.start()
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host}:{port}: {error.strerror}",
                reason="PORT_IN_USE",
                hint="another process has the port; choose another address in [[listen]]",
            ) from error
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        for log in self._flow.shared.logs.values():
            self._telemetry.gauges(log.id, len(log.queue), log.sealed_size)
        return web.Response(body=self._telemetry.exposition(), content_type="text/plain", charset="utf-8")

    async def _healthz(self, _request: web.Request) -> web.Response:
        shared = self._flow.shared
        if shared.failed is not None or shared.draining:
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")
