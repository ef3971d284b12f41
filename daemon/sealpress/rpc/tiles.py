"""The logs as C2SP tlog-tiles, for any tile client: the published checkpoint and the hashes below it, nothing else.

A log's prefix is its origin without the host: origin `sign.acme.example/ci-1/1` is read at `/ci-1/1/checkpoint` and
`/ci-1/1/tile/<L>/<N>[.p/<W>]`, so a proxy that serves the host gives the origin as the specification wants it.

Guarantees: the head is the newest that the log key signed, with the log's and witnesses' lines only; no tile reaches
beyond the tree of that head, so no leaf is shown that a published head does not cover; every width of a partial tile
below it is served, also those of former heads; what was once served never changes. Anybody learns how fast the log
grows, and hashes of leaves that nobody can guess: each holds 16 random bytes (an event's in its record hash).
Does not: serve entry bundles (`tile/entries/…` is 404: what was signed for whom is private), ask who reads, or wait for
the disk on the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from aiohttp import web

from sealpress.core.merkle import HASH_SIZE
from sealpress.errors import ConfigError
from sealpress.tlog.log import Log

WIDTH = 256  # hashes of a full tile
HEIGHT = 8  # levels of the tree in one of a tile
THREADS_MAX = 2  # reading mapped files may wait for the disk; a pool of their own, so that nobody else waits for them
IMMUTABLE = "public, max-age=31536000, immutable"
NOT_YET = {"Cache-Control": "no-store"}  # it may be there in a moment: a cache that kept the 404 would hide it
_TILE = re.compile(r"tile/([0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


class Published(Protocol):
    """A log as far as its newest signed head; steps/_ticket.py keeps it."""

    log: Log
    sealed_size: int
    sealed_note: bytes


class Tiles:
    """The logs of a node by prefix."""

    def __init__(self, logs: Iterable[Published]) -> None:
        """ConfigError if two logs would be read at one place."""
        self._logs: dict[str, Published] = {}
        for published in logs:
            prefix = published.log.origin.partition("/")[2]
            if self._logs.setdefault(prefix, published) is not published:
                raise ConfigError(
                    f"two logs would be served at /{prefix}/",
                    hint="logs of one node need different labels in their names",
                )
        self._threads = ThreadPoolExecutor(THREADS_MAX, "tiles")

    def routes(self) -> list[web.RouteDef]:
        """GET and HEAD below each prefix."""
        return [web.get(f"/{prefix}/{{resource:.+}}", self._get) for prefix in self._logs]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _get(self, request: web.Request) -> web.Response:
        resource = request.match_info["resource"]
        published = self._logs[request.path[1 : -len(resource) - 1]]
        if resource == "checkpoint":
            if not published.sealed_note:
                raise web.HTTPNotFound(text="no head is signed yet\n", headers=NOT_YET)
            return _answer(request, published.sealed_note, "text/plain", "no-cache")
        place = parse_tile(resource)
        if place is None or not _covered(published.sealed_size, *place):
            raise web.HTTPNotFound(text="no such tile\n", headers=NOT_YET)
        level, index, width = place
        read = published.log.tree.nodes
        running = asyncio.get_running_loop()
        body = await running.run_in_executor(self._threads, read, HEIGHT * level, WIDTH * index, width)
        return _answer(request, body, "application/octet-stream", IMMUTABLE)


def parse_tile(resource: str) -> tuple[int, int, int] | None:
    """(level, index, hashes) of `tile/<L>/<N>[.p/<W>]`; None unless it is the one way to write it."""
    found = _TILE.fullmatch(resource)
    if found is None:
        return None
    level, path, width = found.groups()
    if path.startswith("x000/"):
        return None
    hashes = WIDTH if width is None else int(width)
    if hashes > WIDTH or (hashes == WIDTH and width is not None):
        return None
    return int(level), int(path.replace("x", "").replace("/", "")), hashes


def _covered(size: int, level: int, index: int, width: int) -> bool:
    """Whether the tree of the published head has these nodes, all complete."""
    return WIDTH * index + width <= size >> HEIGHT * level


def _answer(request: web.Request, body: bytes, content_type: str, caching: str) -> web.Response:
    tag = hashlib.sha256(body).hexdigest()[:HASH_SIZE]
    known = request.if_none_match or ()
    if any(each.value in (tag, "*") for each in known):
        response = web.Response(status=304)
    else:
        charset = "utf-8" if content_type.startswith("text/") else None
        response = web.Response(body=body, content_type=content_type, charset=charset)
    response.etag = tag
    response.headers["Cache-Control"] = caching
    return response
