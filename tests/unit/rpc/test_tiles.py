"""Tiles over HTTP: what a client that shares no code with us rebuilds from them, and what they never show."""

from __future__ import annotations

import asyncio
import hashlib
import random
import urllib.error
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from independent.tiles import TileClient, node_hash, tile_path
from kit.scribe import Scribe
from sealpress.core.merkle import verify_consistency, verify_inclusion
from sealpress.errors import ConfigError
from sealpress.rpc import http
from sealpress.rpc.http import HttpServer
from sealpress.rpc.tiles import Tiles, parse_tile
from sealpress.tlog.log import Log

MILLION = 1_000_000
SIZES = (1, 2, 3, 255, 256, 257, 511, 512, 40_000, 65_535, 65_536, 65_537, 70_000, 131_072, 999_999, MILLION)


@dataclass
class Head:
    """A log as far as a signed head."""

    log: Log
    sealed_size: int
    sealed_note: bytes


@pytest.fixture(scope="module")
def scribe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scribe]:
    """A log of a million leaves and a bit."""
    scribe = Scribe(tmp_path_factory.mktemp("tiles") / "log", segment_bytes=16 << 20)
    scribe.open()
    for _ in range(10):
        scribe.request(100_000)
    yield scribe
    scribe.log.close()


def head_at(scribe: Scribe, size: int) -> Head:
    """The log as if its newest signed head had so many leaves."""
    return Head(scribe.log, size, scribe.signer.note(size, scribe.log.root(size), 0, line=False))


@asynccontextmanager
async def served(head: Head) -> AsyncIterator[TileClient]:
    """A client of that log over a real connection."""
    tiles = Tiles([head])
    server = HttpServer(tiles.routes())
    port = await server.start("127.0.0.1", 0)
    try:
        yield TileClient(f"http://127.0.0.1:{port}/{head.log.origin.partition('/')[2]}")
    finally:
        await server.close()
        tiles.close()


def rebuild(client: TileClient, scribe: Scribe, size: int, proofs: int, seed: int) -> None:
    """From tiles alone: the root of the checkpoint, and proofs that the product's verifier takes."""
    rng = random.Random(seed)
    head = client.checkpoint()
    assert (scribe.log.origin, size) == (head.origin, head.size)
    assert client.root(size) == head.root
    for _ in range(proofs):
        index, old = rng.randrange(size), rng.randint(1, size)
        leaf = client.node(0, index, size)
        assert leaf == scribe.log.leaf_hash(index)
        assert verify_inclusion(leaf, index, size, b"".join(client.inclusion(index, size)), head.root)
        path = b"".join(client.consistency(old, size))
        assert old == size or verify_consistency(old, size, client.root(old), head.root, path)


@pytest.mark.parametrize("size", SIZES)
async def test_root_and_proofs_are_rebuilt_from_tiles(scribe: Scribe, size: int) -> None:
    """Trees of every shape around tile borders, up to a million leaves."""
    async with served(head_at(scribe, size)) as client:
        await asyncio.to_thread(rebuild, client, scribe, size, 3, size)


async def test_a_thousand_random_tiles_fold_to_the_checkpoint(scribe: Scribe) -> None:
    """Every tile fetched is the content of its parent's hash, up to the root of a million leaves."""

    def check(client: TileClient) -> None:
        rng = random.Random(1)
        head = client.checkpoint()
        assert client.root(MILLION) == head.root
        for index in rng.sample(range(MILLION // 256), 1_000):
            row = [client.tile(0, index, MILLION)[32 * i : 32 * i + 32] for i in range(256)]
            while len(row) > 1:
                row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
            assert row[0] == client.tile(1, index // 256, MILLION)[index % 256 * 32 :][:32]
        assert client.fetched >= 1_000

    async with served(head_at(scribe, MILLION)) as client:
        await asyncio.to_thread(check, client)


async def test_nothing_beyond_the_published_head_is_shown(scribe: Scribe) -> None:
    """The log has a million leaves, the head 70,000: no hash of a later leaf, at any level, full or partial."""

    def check(client: TileClient) -> None:
        shown = [(0, 272, 256), (0, 273, 112), (0, 273, 1), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
        hidden = [(0, 273, 113), (0, 273, 256), (0, 274, 1), (1, 1, 18), (1, 1, 256), (2, 0, 2), (3, 0, 1), (63, 0, 1)]
        assert [200] * len(shown) == [client.status(tile_path(*place)) for place in shown]
        assert [404] * len(hidden) == [client.status(tile_path(*place)) for place in hidden]

    async with served(head_at(scribe, 70_000)) as client:
        await asyncio.to_thread(check, client)


async def test_headers_say_what_may_be_cached(scribe: Scribe) -> None:
    """Tiles for ever; the checkpoint, and that one is not there yet, not at all; a known ETag needs no body."""

    def check(client: TileClient) -> None:
        tile, headers = client.get(tile_path(0, 2))
        assert 8192 == len(tile)
        assert "application/octet-stream" == headers["content-type"]
        assert "public, max-age=31536000, immutable" == headers["cache-control"]
        assert f'"{hashlib.sha256(tile).hexdigest()[:32]}"' == headers["etag"]
        assert 304 == client.status(tile_path(0, 2), headers={"If-None-Match": headers["etag"]})
        _, headers = client.get("checkpoint")
        assert "text/plain; charset=utf-8" == headers["content-type"]
        assert "no-cache" == headers["cache-control"]
        assert 304 == client.status("checkpoint", headers={"If-None-Match": headers["etag"]})
        assert 200 == client.status(tile_path(0, 2), "HEAD")
        assert 405 == client.status(tile_path(0, 2), "POST")
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            client.get(tile_path(0, 3))
        assert "no-store" == missing.value.headers["cache-control"]

    async with served(head_at(scribe, 1_000)) as client:
        await asyncio.to_thread(check, client)


async def test_what_is_not_public_is_not_there(scribe: Scribe) -> None:
    """Entry bundles, other spellings of a tile, other paths: 404; before the first head there is no checkpoint."""
    wrong = [
        "tile/entries/000", "tile/entries/000.p/5", "tile/0/0", "tile/0/x000/000", "tile/00/000", "tile/0/000.p/256",
        "tile/0/000.p/0", "tile/0/000.p/01", "tile/64/000", "tile/0/000/", "tile/0/-01", "tile/0/000.p/", "journal",
        "tile/0/" + "x999/" * 7 + "999", "../checkpoint", "tile/0/%30%30%30.p/999", "issuer/",
    ]  # fmt: skip

    def check(client: TileClient) -> None:
        assert {404} == {client.status(resource) for resource in wrong}

    async with served(head_at(scribe, 1_000)) as client:
        await asyncio.to_thread(check, client)
    async with served(Head(scribe.log, 0, b"")) as client:
        found = [await asyncio.to_thread(client.status, resource) for resource in ("checkpoint", "tile/0/000.p/1")]
        assert [404, 404] == found


async def test_idle_connections_keep_nobody_out(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all places taken by connections that say nothing, a reader is served: the oldest one goes."""
    monkeypatch.setattr(http, "CONNECTIONS_MAX", 8)
    async with served(head_at(scribe, 1_000)) as client:
        port = int(client.prefix.split(":")[2].split("/")[0])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        size = (await asyncio.to_thread(client.checkpoint)).size
        closed = sum([reader.at_eof() for reader, _ in idle])
        for _, writer in idle:
            writer.close()

    assert 1_000 == size
    assert 13 == closed


def test_tile_paths_are_read_as_they_are_written() -> None:
    """Every path that the independent client writes, and back."""
    rng = random.Random(5)
    for _ in range(2_000):
        place = rng.randrange(64), rng.randrange(10 ** rng.randint(1, 18)), rng.randint(1, 256)
        assert place == parse_tile(tile_path(*place))


def test_two_logs_never_share_a_prefix(scribe: Scribe) -> None:
    """Different hosts and the same label: refused at start, not served mixed up."""
    first, second = head_at(scribe, 1), head_at(scribe, 2)
    with pytest.raises(ConfigError):
        Tiles([first, second])
