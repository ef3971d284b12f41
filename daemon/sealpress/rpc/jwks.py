"""The keys that an issuer signs its tokens with: a JSON Web Key Set, from its URI or from a file, kept fresh.

One task per issuer reads the set again every `refresh_s`, or when a token names a key that is not in it, then at most
every `interval_s`: however many tokens ask, one fetch is under way. When reading fails, the keys of the last good set
stay in use for `grace_s` (a file's for ever); a set that cannot be used whole is not used at all.

Guarantees: looking up a key never waits; https only, but for the loopback; no redirects, no proxies, no compression, at
most BODY_BYTES_MAX bytes and KEYS_MAX keys within `timeout_s`; only public keys of the allowed algorithms and sizes are
ever held. Does not: discover URIs, or judge tokens.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealpress.errors import CannotStart, ConfigError, Invalid, Unavailable
from sealpress.ports import Clock
from sealpress.reading import open_regular
from sealpress.telemetry import Telemetry

BODY_BYTES_MAX = 256 << 10
KEYS_MAX = 64
KID_MAX = 256
RSA_BITS_MIN, RSA_BITS_MAX = 2_048, 8_192
RSA_EXPONENT_MAX = 1 << 32  # the time of a check grows with it
RETRY_MS = 1_000
NANOSECONDS = 1_000_000_000

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ALGORITHMS = RSA_ALGORITHMS | {"ES256", "ES384", "EdDSA"}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "Ed25519": "EdDSA"}
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Read: TypeAlias = Callable[[], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class Times:
    """When a set is read again, and how long an old one is good enough."""

    refresh_s: float = 600.0
    interval_s: float = 10.0
    grace_s: float | None = 6 * 3_600.0
    timeout_s: float = 10.0
    skew_s: int = 60


URI_TIMES = Times()
FILE_TIMES = Times(refresh_s=5.0, interval_s=1.0, grace_s=None)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Public keys by key id and algorithm."""

    keys: dict[tuple[str, str], PublicKey]
    kids: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Held:
    keys: KeySet
    body: bytes
    asked_s: int  # Unix seconds before it was read
    read_ns: int  # monotonic


def parse_set(body: bytes) -> KeySet:
    """The usable public keys of a set; Invalid if there is none, or if it cannot be meant so."""
    if len(body) > BODY_BYTES_MAX:
        raise Invalid(f"the key set has more than {BODY_BYTES_MAX} bytes", reason="JWKS")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Invalid("the key set is not JSON", reason="JWKS") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > KEYS_MAX:
        raise Invalid(f"the key set has no list of at most {KEYS_MAX} keys", reason="JWKS")
    keys: dict[tuple[str, str], PublicKey] = {}
    for entry in entries:
        for name, key in _usable(entry):
            if name in keys and keys[name] != key:
                raise Invalid("the key set has two keys of one name", reason="JWKS")
            keys[name] = key
    if not keys:
        raise Invalid("the key set has no key that we can use", reason="JWKS")
    return KeySet(keys, frozenset(kid for kid, _ in keys))


def _usable(entry: Any) -> list[tuple[tuple[str, str], PublicKey]]:
    """A key under each algorithm that it may be used with; nothing for a key that is not for signatures of ours."""
    if not isinstance(entry, dict) or "d" in entry or entry.get("use", "sig") != "sig":
        return []
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return []
    kid, stated = entry.get("kid"), entry.get("alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_MAX:
        return []
    kty, crv = entry.get("kty"), entry.get("crv")
    possible = RSA_ALGORITHMS if kty == "RSA" else frozenset({_CURVES.get(crv, "") if isinstance(crv, str) else ""})
    algorithms = possible & (ALGORITHMS if stated is None else {stated if isinstance(stated, str) else ""})
    if not algorithms:
        return []
    try:
        plain = {name: entry[name] for name in _PUBLIC if name in entry}
        key = jwt.PyJWK(plain, algorithm=min(algorithms)).key
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        return []
    return [((kid, algorithm), key) for algorithm in algorithms] if _strong(key) else []


def _strong(key: Any) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX and 3 <= key.public_numbers().e <= RSA_EXPONENT_MAX
    return isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)


class Keys:
    """An issuer's keys, kept fresh by one task."""

    def __init__(self, name: str, read: Read, times: Times, clock: Clock, telemetry: Telemetry) -> None:
        """`read` gives the bytes of the set, or None if they are those of the last time."""
        self._name = name
        self._read = read
        self._times = times
        self._clock = clock
        self._telemetry = telemetry
        self._held: _Held | None = None
        self._down = False
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        """Counts the sets: what was verified with an older one is verified again."""

    def start(self) -> None:
        """Begin to read, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"keys of {self._name}")

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def find(self, kid: str, algorithm: str, issued_s: int) -> PublicKey | None:
        """The key; None if there is none and none is to come. Unavailable ISSUER_DOWN while that is not known."""
        held = self._held
        if held is None or self._too_old(held):
            self._wanted.set()
            raise _down()
        key = held.keys.keys.get((kid, algorithm))
        if key is not None:
            return key
        if kid in held.keys.kids or held.asked_s > issued_s + self._times.skew_s:
            return None  # the set is younger than the token and still does not know the key
        self._wanted.set()
        raise _down()

    async def refresh(self) -> None:
        """Read once; what goes wrong is told, and the old set stays."""
        asked_s = self._clock.now_ns() // NANOSECONDS
        try:
            async with asyncio.timeout(self._times.timeout_s):
                body = await self._read()
            self._take(body, asked_s)
        except (OSError, TimeoutError, aiohttp.ClientError, Invalid, ValueError) as error:
            if not self._down:
                self._telemetry.issuer_down(self._name, str(error) or type(error).__name__)
            self._down = True
            return
        if self._down:
            self._telemetry.issuer_back(self._name)
        self._down = False

    def _take(self, body: bytes | None, asked_s: int) -> None:
        held, now_ns = self._held, self._clock.monotonic_ns()
        if held is not None and body in (None, held.body):
            self._held = replace(held, asked_s=asked_s, read_ns=now_ns)
        elif body is not None:
            keys = parse_set(body)
            self._held = _Held(keys, body, asked_s, now_ns)
            self.generation += 1
            self._telemetry.issuer_keys(self._name, len(keys.kids))

    @property
    def usable(self) -> bool:
        """Whether there are keys to check tokens with."""
        return self._held is not None and not self._too_old(self._held)

    def _too_old(self, held: _Held) -> bool:
        grace_s = self._times.grace_s
        return grace_s is not None and self._clock.monotonic_ns() - held.read_ns > grace_s * NANOSECONDS

    async def _keep(self) -> None:
        while True:
            self._wanted.clear()
            try:
                await self.refresh()
            except Exception as error:  # our bug must not end the task: the issuer would be down for ever
                self._telemetry.internal("jwks", error)
            await asyncio.sleep(self._times.interval_s)
            if self._down:
                continue
            try:
                async with asyncio.timeout(self._times.refresh_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass  # nobody asked: it is time anyway


def _down() -> Unavailable:
    return Unavailable(
        "the keys of this token's issuer are not at hand",
        reason="ISSUER_DOWN",
        hint="ask again after the delay; if it stays so, the daemon's log says what it cannot reach",
        retry_after_ms=RETRY_MS,
    )


# ---- where sets come from ----


def check_uri(uri: str, what: str) -> None:
    """ConfigError unless it is https, or http to this machine itself, without user, query or fragment."""
    try:
        parts = urlsplit(uri)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"{what} {uri!r} is not a URI", hint="write https://host/path") from None
    plain = host and uri.isascii() and uri.isprintable() and "@" not in parts.netloc and not parts.fragment
    if not plain or not (parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))):
        raise ConfigError(f"{what} {uri!r} is not a plain https URI", hint="http is for the loopback only")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def from_uri(uri: str) -> Read:
    """A reader over HTTP."""
    context = ssl.create_default_context()

    async def read() -> bytes | None:
        limit = aiohttp.ClientTimeout(total=URI_TIMES.timeout_s)
        async with (
            aiohttp.ClientSession(
                timeout=limit,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "sealpress"},
            ) as session,
            session.get(uri, allow_redirects=False, ssl=context) as response,
        ):
            if response.status != 200 or "Content-Encoding" in response.headers:
                raise Invalid(f"{uri} answered {response.status}, or packed", reason="JWKS")
            body = bytearray()
            async for piece in response.content.iter_chunked(16 << 10):
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    raise Invalid(f"{uri} answered with more than {BODY_BYTES_MAX} bytes", reason="JWKS")
            return bytes(body)

    return read


def from_file(path: Path) -> Read:
    """A reader of a file, in a thread; None while the file is as it was."""
    stamps: list[tuple[int, int, int]] = []

    def read_now() -> bytes | None:
        with open_regular(path) as file:
            stat = os.fstat(file.fileno())  # of what is read, not of what may have taken its place
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamps == [stamp]:
                return None
            body = file.read(BODY_BYTES_MAX + 1)
        parse_set(body)  # only a file that can be used counts as seen
        stamps[:] = [stamp]
        return body

    async def read() -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(None, read_now)

    return read


async def started(keys: Keys, path: Path | None) -> None:
    """Start; a file must be there and usable from the beginning (CannotStart JWKS_FILE)."""
    if path is not None:
        await keys.refresh()
        if not keys.usable:
            raise CannotStart(
                f"{path} is not a usable key set",
                reason="JWKS_FILE",
                hint="[issuer.<id>] jwks_file is a JSON Web Key Set",
            )
    keys.start()
