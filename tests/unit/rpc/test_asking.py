"""Do those whom the daemon asks or tells over HTTP get anything into its memory?"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from kit.clock import VirtualClock
from kit.witness import Witness
from sealpress.errors import Unavailable
from sealpress.rpc import webhook
from sealpress.rpc.witness import HttpWitnesses
from sealpress.telemetry import Telemetry
from sealpress.verify.policy import parse_witnesses

TIMES = 3


@asynccontextmanager
async def baker(status: int) -> AsyncIterator[tuple[str, list[str], asyncio.Event]]:
    """A server with a new cookie in each answer: its URL, the cookies of each request, and whether it got all."""
    got: list[str] = []
    all_ = asyncio.Event()
    numbers = itertools.count()

    async def answer(request: web.Request) -> web.Response:
        got.append(request.headers.get("Cookie", ""))
        if len(got) == TIMES:
            all_.set()
        return web.Response(status=status, headers={"Set-Cookie": f"c{next(numbers)}={'x' * 2_000}; Path=/"})

    app = web.Application()
    app.router.add_post("/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://localhost:{runner.addresses[0][1]}", got, all_
    finally:
        await runner.cleanup()


async def test_a_witness_s_cookies_are_not_kept() -> None:
    """It is asked for months: what it would have us remember is not, and is not sent back."""
    with Witness("w") as one:
        async with baker(503) as (url, got, _):
            policy = parse_witnesses(f"witness w {one.vkey} {url}\nquorum w\n".encode())
            asked = HttpWitnesses(policy, 5_000)
            for _ in range(TIMES):
                with pytest.raises(Unavailable):
                    await asked.add_checkpoint("w", 0, b"", b"")
            await asked.close()
    assert got == [""] * TIMES


async def test_a_webhook_receiver_s_cookies_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the one that is told of changes."""
    told = SimpleNamespace(kind="policy.change", line="", summary="", missing="")
    monkeypatch.setattr(webhook.views, "change", lambda _desk, _found: told)
    state = SimpleNamespace(open_changes={}, change=lambda id_: id_)
    desk = SimpleNamespace(anchors=SimpleNamespace(deployment="d"), state=state)
    office: Any = SimpleNamespace(state=state, desk=lambda: desk)
    flow: Any = SimpleNamespace(shared=SimpleNamespace(snapshot=object()))
    async with baker(200) as (url, got, all_):
        hook = webhook.Webhook(url, flow, office, Telemetry(VirtualClock()))
        state.open_changes = dict.fromkeys(f"chg-{number}" for number in range(TIMES))
        running = asyncio.create_task(hook.run())
        await asyncio.wait_for(all_.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert got == [""] * TIMES
