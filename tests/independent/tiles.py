"""A C2SP tlog-tiles client written from the specification and RFC 6962 alone: hashlib and urllib, none of our code.

It fetches tiles, never a proof, and makes root, inclusion and consistency proofs from them by itself.
"""

from __future__ import annotations

import base64
import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass

WIDTH = 256


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """`tile/<L>/<N>[.p/<W>]`."""
    digits = f"{index:03}"
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([f"x{part}" for part in parts[:-1]] + parts[-1:])
    return f"tile/{level}/{path}" + ("" if width == WIDTH else f".p/{width}")


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True)
class Checkpoint:
    """The three lines of a head, and its signature lines."""

    origin: str
    size: int
    root: bytes
    signatures: list[str]


class TileClient:
    """Reads one log below a prefix, as seen at one head."""

    def __init__(self, prefix: str) -> None:
        """`prefix` is a URL without a slash at its end."""
        self.prefix = prefix
        self.fetched = 0
        self._tiles: dict[str, bytes] = {}

    def get(self, resource: str) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        with urllib.request.urlopen(f"{self.prefix}/{resource}", timeout=10) as answer:
            return answer.read(), {name.lower(): value for name, value in answer.headers.items()}

    def status(self, resource: str, method: str = "GET", headers: dict[str, str] | None = None) -> int:
        """The status alone."""
        request = urllib.request.Request(f"{self.prefix}/{resource}", method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def checkpoint(self) -> Checkpoint:
        """The newest head."""
        body, _ = self.get("checkpoint")
        text, _, signatures = body.decode().partition("\n\n")
        origin, size, root = text.split("\n")
        return Checkpoint(origin, int(size), base64.b64decode(root, validate=True), signatures.splitlines())

    def tile(self, level: int, index: int, size: int) -> bytes:
        """The tile at that place in a tree of `size` leaves: full, or as wide as that tree needs it."""
        width = min(WIDTH, (size >> 8 * level) - WIDTH * index)
        path = tile_path(level, index, width)
        if path not in self._tiles:
            body, _ = self.get(path)
            assert len(body) == 32 * width
            self._tiles[path] = body
            self.fetched += 1
        return self._tiles[path]

    def node(self, level: int, index: int, size: int) -> bytes:
        """A complete node of the tree."""
        tile_level, below = divmod(level, 8)
        first = index << below
        tile = self.tile(tile_level, first // WIDTH, size)
        at = first % WIDTH
        row = [tile[32 * i : 32 * i + 32] for i in range(at, at + (1 << below))]
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        return row[0]

    def mth(self, first: int, end: int, size: int) -> bytes:
        """MTH(D[first:end]) where `first` is a multiple of the next power of two."""
        count = end - first
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self.node(level, first >> level, size)
        split = 1 << (count - 1).bit_length() - 1
        return node_hash(self.mth(first, first + split, size), self.mth(first + split, end, size))

    def root(self, size: int) -> bytes:
        """Root of the first `size` leaves."""
        return self.mth(0, size, size) if size else hashlib.sha256().digest()

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[size])."""

        def path(index: int, first: int, end: int) -> list[bytes]:
            if end - first == 1:
                return []
            split = first + (1 << (end - first - 1).bit_length() - 1)
            if index < split:
                return [*path(index, first, split), self.mth(split, end, size)]
            return [*path(index, split, end), self.mth(first, split, size)]

        return path(index, 0, size)

    def consistency(self, old: int, size: int) -> list[bytes]:
        """PROOF(old, D[size])."""

        def subproof(old: int, first: int, end: int, whole: bool) -> list[bytes]:
            if old == end:
                return [] if whole else [self.mth(first, end, size)]
            split = first + (1 << (end - first - 1).bit_length() - 1)
            if old <= split:
                return [*subproof(old, first, split, whole), self.mth(split, end, size)]
            return [*subproof(old, split, end, False), self.mth(first, split, size)]

        return subproof(old, 0, size, True)
