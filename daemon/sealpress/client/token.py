"""A bearer token in a file: read again when it changes, looked at before it is sent.

Guarantees: a token whose time is over is said to be so here, by name, and nothing is sent; what is sent is one line of
ASCII. Does not: verify the token (only the daemon can), or send it (the client does, over TLS only).
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from sealpress.errors import ConfigError, TransportError
from sealpress.reading import read_whole

TOKEN_BYTES_MAX = 16 << 10
_FORM = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")
HINT = "have the CI write a fresh one there; nothing was sent"


class TokenFile:
    """The file as last read."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        """Read on first use."""
        self._path = path
        self._now_s = now_s
        self._stamp: tuple[int, int, int] | None = None
        self._token = ""
        self._ends_s = 0

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """For a call. ConfigError TOKEN_FILE, TransportError TOKEN_EXPIRED."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp:
                self._take(read_whole(self._path))
                self._stamp = stamp
        except OSError as error:
            raise ConfigError(f"token = {self._path}: {error.strerror}", reason="TOKEN_FILE", hint=HINT) from None
        if self._ends_s and self._now_s() >= self._ends_s:
            ended = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._ends_s))
            raise TransportError(f"the token expired at {ended} UTC", reason="TOKEN_EXPIRED", hint=HINT)
        return (("authorization", f"Bearer {self._token}"),)

    def _take(self, content: bytes) -> None:
        token = content.strip()
        if len(token) > TOKEN_BYTES_MAX or _FORM.fullmatch(token) is None:
            raise ConfigError(f"token = {self._path}: not one token in the form x.y.z", reason="TOKEN_FILE", hint=HINT)
        self._token = token.decode("ascii")
        ends = _payload(token.split(b".")[1]).get("exp")
        self._ends_s = ends if isinstance(ends, int) and 0 < ends < 1 << 40 else 0  # the daemon says what is wrong


def _payload(segment: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4)))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
