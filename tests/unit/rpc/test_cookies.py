"""Does a server that we speak to leave nothing with us?"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from kit.governed import until
from sealpress.errors import Unavailable
from sealpress.rpc import webhook as webhooks
from sealpress.rpc.webhook import Webhook
from sealpress.rpc.witness import HttpWitnesses

CALLS = 3


async def _serving(received: list[str]) -> tuple[web.AppRunner, str]:
    """A server that gives everybody another cookie each time; `received` are those that come back."""

    async def answer(request: web.Request) -> web.Response:
        received.append(request.headers.get("Cookie", ""))
        return web.Response(status=404, headers={"Set-Cookie": f"c{len(received)}={'x' * 4_000}; Path=/"})

    app = web.Application()
    app.router.add_post("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0).start()
    return runner, f"http://localhost:{runner.addresses[0][1]}"


def test_a_witness_leaves_no_cookies() -> None:
    """It could fill our memory with them, one head after the other."""

    async def scenario() -> list[str]:
        received: list[str] = []
        runner, url = await _serving(received)
        policy: Any = SimpleNamespace(witnesses=["w"], urls={"w": url})
        witnesses = HttpWitnesses(policy, 5_000)
        for _ in range(CALLS):
            with pytest.raises(Unavailable):
                await witnesses.add_checkpoint("w", 0, b"", b"head")
        await witnesses.close()
        await runner.cleanup()
        return received

    assert asyncio.run(scenario()) == [""] * CALLS


def test_whoever_is_told_of_changes_leaves_no_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with each change."""

    async def scenario() -> list[str]:
        received: list[str] = []
        runner, url = await _serving(received)
        office: Any = SimpleNamespace(state=SimpleNamespace(open_changes={}))
        flow: Any = SimpleNamespace(shared=SimpleNamespace(snapshot=None))
        telemetry: Any = SimpleNamespace(webhook_failed=lambda *_: None)
        monkeypatch.setattr(webhooks, "PAUSE_S", 0.0)
        webhook = Webhook(url, flow, office, telemetry)
        webhook._queue.put_nowait({"change_id": "a"})
        running = asyncio.create_task(webhook.run())
        await until(lambda: len(received) > 1)
        running.cancel()
        await asyncio.wait([running])
        await runner.cleanup()
        return received

    assert set(asyncio.run(scenario())) == {""}
