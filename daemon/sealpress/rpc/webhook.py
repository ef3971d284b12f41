"""Tells somebody outside when a change waits for approvers: one small JSON document per change, by HTTPS.

    {"deployment": …, "change_id": …, "kind": …, "line": …, "summary": …, "missing": …}

Guarantees: nothing waits for it: the queue is bounded, each try has a time-out, what does not go through is told in our
log and given up; no secret and no statement is in it, no redirect is followed, no cookie kept. Does not: carry
approvals: whoever is told looks with `sealpress approve`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from sealpress.errors import ConfigError
from sealpress.flow import Flow
from sealpress.rpc import views
from sealpress.steps._office import Office
from sealpress.telemetry import Telemetry

QUEUE_MAX = 256
TIMEOUT_S = 5.0
TRIES = 3
PAUSE_S = 2.0
LOOK_S = 0.5
TEXT_MAX = 512


def check(url: str) -> str:
    """The URL; ConfigError unless it is https (http to this very machine is let through, for tests)."""
    if url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        return url
    raise ConfigError(f"[governance] webhook {url!r}: only https", hint="https://host/path")


class Webhook:
    """One receiver."""

    def __init__(self, url: str, flow: Flow, office: Office, telemetry: Telemetry) -> None:
        """What is open already was told before."""
        self._url = check(url)
        self._flow = flow
        self._office = office
        self._telemetry = telemetry
        self._told = set(office.state.open_changes)
        self._queue: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue(QUEUE_MAX)

    async def run(self) -> None:
        """Until cancelled."""
        limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session:
            sending = asyncio.create_task(self._send(session), name="webhook")
            try:
                await self._look()
            finally:
                sending.cancel()

    async def _look(self) -> None:
        seen = None
        while True:
            if self._flow.shared.snapshot is not seen:
                seen = self._flow.shared.snapshot
                for change_id in [id_ for id_ in self._office.state.open_changes if id_ not in self._told]:
                    self._offer(change_id)
                self._told &= self._office.state.open_changes.keys()
            await asyncio.sleep(LOOK_S)

    def _offer(self, change_id: str) -> None:
        self._told.add(change_id)
        desk = self._office.desk()
        change = views.change(desk, desk.state.change(change_id))
        document = {
            "deployment": desk.anchors.deployment, "change_id": change_id, "kind": change.kind, "line": change.line,
            "summary": change.summary[:TEXT_MAX], "missing": change.missing[:TEXT_MAX],
        }  # fmt: skip
        try:
            self._queue.put_nowait(document)
        except asyncio.QueueFull:
            self._telemetry.webhook_failed(change_id, f"{QUEUE_MAX} wait already")

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while True:
            document = await self._queue.get()
            for left in range(TRIES - 1, -1, -1):
                said = await self._try(session, document)
                if not said:
                    break
                if not left:
                    self._telemetry.webhook_failed(str(document["change_id"]), said)
                else:
                    await asyncio.sleep(PAUSE_S)

    async def _try(self, session: aiohttp.ClientSession, document: Mapping[str, Any]) -> str:
        """Empty, or why it did not go through."""
        try:
            async with session.post(self._url, json=document, allow_redirects=False) as answer:
                return "" if answer.status < 300 else f"HTTP status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__
