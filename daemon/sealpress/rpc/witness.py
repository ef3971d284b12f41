"""One witness over HTTP: `POST <submission prefix>/add-checkpoint` of C2SP tlog-witness.

    old <size>            the body: what we believe it has seen,
    <hash> …              how the new head is consistent with that,
                          and the checkpoint with the log's signature
    <checkpoint>

Guarantees: https only (http to this very machine is let through, for tests); one time-out over connection, request and
answer; an answer is read to BYTES_MAX and no further; no redirect is followed, no cookie kept. Does not: verify a
cosignature, or say what an answer means (steps/_witnesses.py does both).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping

import aiohttp

from sealpress.errors import ConfigError, Unavailable
from sealpress.steps._witnesses import Cosigned, Inconsistent, Stands
from sealpress.verify.policy import WitnessPolicy

BYTES_MAX = 32 << 10  # an ML-DSA-44 line beside ours has 3.3 KB
SIZE_TYPE = "text/x.tlog.size"
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n", re.ASCII)
_HASH = 32


def check(name: str, url: str) -> str:
    """The submission prefix; ConfigError unless it can be asked."""
    if url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        return url.rstrip("/")
    raise ConfigError(
        f"the witness {name} has no https URL", hint="witness <name> <vkey> https://<its submission prefix>"
    )


def body(old: int, consistency: bytes, checkpoint: bytes) -> bytes:
    """Of the request; `consistency`: hashes end to end, RFC 6962 order."""
    hashes = (consistency[at : at + _HASH] for at in range(0, len(consistency), _HASH))
    return b"".join((b"old %d\n" % old, *(base64.b64encode(one) + b"\n" for one in hashes), b"\n", checkpoint))


class HttpWitnesses:
    """All witnesses of a node, over one pool of connections. Made and used on the loop."""

    def __init__(self, policy: WitnessPolicy, timeout_ms: int) -> None:
        """ConfigError for a witness without an https URL."""
        self._urls: Mapping[str, str] = {name: check(name, policy.urls.get(name, "")) for name in policy.witnesses}
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._session: aiohttp.ClientSession | None = None

    async def add_checkpoint(
        self, name: str, old: int, consistency: bytes, checkpoint: bytes
    ) -> Cosigned | Stands | Inconsistent:
        """Submit a head; Unavailable WITNESS_DOWN without an answer, WITNESS_REFUSED with one that helps nobody."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        url = f"{self._urls[name]}/add-checkpoint"
        try:
            async with self._session.post(
                url, data=body(old, consistency, checkpoint), allow_redirects=False
            ) as answer:
                text = await _read(answer)
                status, kind = answer.status, answer.content_type
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise Unavailable(str(error) or type(error).__name__, reason="WITNESS_DOWN") from None
        if status == 200:
            return Cosigned(text)
        if status == 409 and kind == SIZE_TYPE and (size := _SIZE.fullmatch(text)) is not None:
            return Stands(int(size[1]))
        if status == 422:
            return Inconsistent()
        raise Unavailable(f"HTTP status {status}{_MEANING.get(status, '')}", reason="WITNESS_REFUSED")

    async def close(self) -> None:
        """Give the connections back."""
        if self._session is not None:
            await self._session.close()


_MEANING = {
    403: ": it does not know this log's key",
    404: ": it does not know this log",
    409: " without a size: it is no witness",
}


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    text = b""
    async for part in answer.content.iter_chunked(BYTES_MAX):
        text += part
        if len(text) > BYTES_MAX:
            raise Unavailable("the answer is larger than any may be", reason="WITNESS_REFUSED")
    return text
