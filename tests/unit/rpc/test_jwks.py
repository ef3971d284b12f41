"""Are an issuer's keys fresh, bounded and only such as may be trusted, without anybody waiting for them?"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kit.clock import VirtualClock
from kit.issuer import Issuer, KeyServer
from sealpress.errors import CannotStart, ConfigError, Invalid, Unavailable
from sealpress.rpc.jwks import BODY_BYTES_MAX, KEYS_MAX, Keys, Times, check_uri, from_file, from_uri, parse_set, started
from sealpress.telemetry import Telemetry

QUICK = Times(refresh_s=30.0, interval_s=0.05, grace_s=100.0, timeout_s=0.5)
Made = Callable[..., Keys]


class Bench:
    """Keys under test, with a virtual clock and what was said in the log."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.clock = VirtualClock()
        self.said = io.StringIO()
        self.telemetry = Telemetry(self.clock, self.said)
        self.running: list[Keys] = []

    def keys(self, uri: str, times: Times = QUICK) -> Keys:
        """From a URI, and started."""
        keys = Keys("ci", from_uri(uri), times, self.clock, self.telemetry)
        self.running.append(keys)
        keys.start()
        return keys

    def events(self) -> list[str]:
        """What the log says, in order."""
        return [json.loads(line)["event"] for line in self.said.getvalue().splitlines()]

    def now_s(self) -> int:
        """Of the virtual clock."""
        return self.clock.now_ns() // 1_000_000_000


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Closed at the end."""
    bench = Bench()
    yield bench
    for keys in bench.running:
        await keys.close()


async def until(condition: Callable[[], bool], wait_s: float = 5.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(wait_s):
        while not condition():  # noqa: ASYNC110 - what is waited for knows nothing of us
            await asyncio.sleep(0.005)


def sought(keys: Keys, kid: str, bench: Bench) -> object:
    """What a token just issued would find."""
    return keys.find(kid, "RS256", bench.now_s())


# ---- sets ----


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("RS256", rsa.RSAPublicKey),
        ("PS384", rsa.RSAPublicKey),
        ("ES256", ec.EllipticCurvePublicKey),
        ("ES384", ec.EllipticCurvePublicKey),
        ("EdDSA", ed25519.Ed25519PublicKey),
    ],
)
def test_keys_are_held_under_their_algorithm(algorithm: str, kind: type) -> None:
    """A key that says its algorithm is held for that one alone."""
    issuer = Issuer(algorithm=algorithm)
    found = parse_set(issuer.jwks_bytes())

    assert list(found.keys) == [(issuer.kid, algorithm)]
    assert isinstance(found.keys[issuer.kid, algorithm], kind)


def test_a_key_without_algorithm_is_held_for_those_of_its_type() -> None:
    """RSA for six, P-256 for one."""
    for algorithm, expected in (("RS256", 6), ("ES256", 1)):
        (entry,) = Issuer(algorithm=algorithm).jwks()["keys"]
        del entry["alg"]
        assert len(parse_set(json.dumps({"keys": [entry]}).encode()).keys) == expected


def changed(**more: Any) -> dict[str, Any]:
    """An RSA entry with something else in it; None takes out."""
    (entry,) = Issuer().jwks()["keys"]
    return {name: value for name, value in {**entry, **more}.items() if value is not None}


@pytest.mark.parametrize(
    "more",
    [
        {"alg": "HS256"}, {"alg": "none"}, {"alg": "ES256"}, {"alg": 7}, {"use": "enc"}, {"key_ops": ["sign"]},
        {"kid": None}, {"kid": ""}, {"kid": 7}, {"kid": "x" * 300}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": None},
        {"kty": "EC", "crv": ["P-256"]}, {"kty": "EC", "crv": "secp256k1"}, {"n": "AQAB"}, {"n": "!!"}, {"e": "AA"},
        {"e": "AQAAAAAAAAAB"}, {"d": "AQAB"},
    ],
)  # fmt: skip
def test_keys_that_must_not_be_trusted_are_left_out(more: dict[str, Any]) -> None:
    """Symmetric, private, weak, misdescribed and nameless keys are not held; a set of nothing else is refused."""
    with pytest.raises(Invalid):
        parse_set(json.dumps({"keys": [changed(**more)]}).encode())

    good = Issuer()
    both = {"keys": [changed(**more), *good.jwks()["keys"]]}
    assert parse_set(json.dumps(both).encode()).kids == {good.kid}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [7]}', b"\xff", b"[" * 100_000,
        b" " * (BODY_BYTES_MAX + 1),
    ],
)  # fmt: skip
def test_what_is_no_set_is_refused(body: bytes) -> None:
    """Anything but a JSON object with a list of keys."""
    with pytest.raises(Invalid):
        parse_set(body)


def test_a_set_that_cannot_be_meant_so_is_refused_whole() -> None:
    """More than KEYS_MAX keys, or two keys of one name."""
    (one,), (other,) = Issuer().jwks()["keys"], Issuer().jwks()["keys"]
    other["kid"] = one["kid"]

    for entries in ([one, other], [one] * (KEYS_MAX + 1)):
        with pytest.raises(Invalid):
            parse_set(json.dumps({"keys": entries}).encode())
    assert parse_set(json.dumps({"keys": [one, one]}).encode()).kids == {one["kid"]}


# ---- from a URI ----


async def test_keys_come_without_anybody_waiting(bench: Bench) -> None:
    """Until they are there the answer is ISSUER_DOWN with a delay; then it is the key."""
    issuer = Issuer()
    async with KeyServer(issuer.jwks_bytes()) as server:
        keys = bench.keys(server.uri)

        with pytest.raises(Unavailable) as caught:
            sought(keys, issuer.kid, bench)
        assert caught.value.reason == "ISSUER_DOWN"
        assert caught.value.retry_after_ms > 0

        await until(lambda: keys.usable)
        assert isinstance(sought(keys, issuer.kid, bench), rsa.RSAPublicKey)
        assert keys.find(issuer.kid, "RS512", bench.now_s()) is None


async def test_a_new_key_is_fetched_once_for_all_who_ask(bench: Bench) -> None:
    """A token with an unknown key makes one fetch, however often it asks; the next generation has the key."""
    issuer = Issuer()
    async with KeyServer(issuer.jwks_bytes()) as server:
        keys = bench.keys(server.uri)
        await until(lambda: keys.usable)
        asked, generation = server.asked, keys.generation
        issuer.rotate()
        server.body = issuer.jwks_bytes()

        for _ in range(1_000):
            with pytest.raises(Unavailable):
                sought(keys, issuer.kid, bench)
        await until(lambda: keys.generation > generation)

        assert server.asked == asked + 1
        assert sought(keys, issuer.kid, bench) is not None


async def test_unknown_keys_make_few_fetches(bench: Bench) -> None:
    """However many tokens with invented key ids come, there is at most one fetch an interval."""
    async with KeyServer(Issuer().jwks_bytes()) as server:
        keys = bench.keys(server.uri, Times(refresh_s=30, interval_s=0.2, timeout_s=0.5))
        await until(lambda: keys.usable)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 0.7:
            with pytest.raises(Unavailable):
                sought(keys, "invented", bench)
            await asyncio.sleep(0.001)

        assert server.asked <= 5


async def test_a_set_younger_than_the_token_is_the_last_word(bench: Bench) -> None:
    """If the set was read well after the token was issued, an unknown key stays unknown: no fetch, no delay."""
    async with KeyServer(Issuer().jwks_bytes()) as server:
        keys = bench.keys(server.uri)
        await until(lambda: keys.usable)

        assert keys.find("invented", "RS256", bench.now_s() - 61) is None
        await asyncio.sleep(0.2)
        assert server.asked == 1


async def test_old_keys_serve_for_the_grace_time(bench: Bench) -> None:
    """An issuer that is down costs nothing for `grace_s`; after it, ISSUER_DOWN; when it is back, all is well again."""
    issuer = Issuer()
    async with KeyServer(issuer.jwks_bytes()) as server:
        keys = bench.keys(server.uri, Times(refresh_s=0.01, interval_s=0.01, grace_s=100, timeout_s=0.5))
        await until(lambda: keys.usable)
        server.status = 503
        await until(lambda: "issuer_down" in bench.events())
        asked = server.asked
        await until(lambda: server.asked > asked + 2)

        bench.clock.advance(99)
        assert sought(keys, issuer.kid, bench) is not None
        bench.clock.advance(2)
        with pytest.raises(Unavailable):
            sought(keys, issuer.kid, bench)

        server.status = 200
        await until(lambda: keys.usable)
        assert bench.events() == ["issuer_keys", "issuer_down", "issuer_back"]


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "/other"}, None),
        (404, {}, None),
        (204, {}, b""),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(Issuer().jwks_bytes())),
        (200, {}, b" " * (BODY_BYTES_MAX + 1)),
        (200, {}, b"<html>"),
    ],
)
async def test_what_is_no_plain_answer_is_not_taken(
    bench: Bench, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    """Redirects, errors, packed, overlong and foreign answers leave the old keys in use."""
    issuer = Issuer()
    async with KeyServer(issuer.jwks_bytes()) as server:
        keys = bench.keys(server.uri, Times(refresh_s=0.01, interval_s=0.01, timeout_s=0.5))
        await until(lambda: keys.usable)
        server.status, server.headers, server.body = status, headers, server.body if body is None else body
        asked = server.asked
        await until(lambda: server.asked > asked + 2)

        assert keys.generation == 1
        assert sought(keys, issuer.kid, bench) is not None
        assert "issuer_down" in bench.events()


async def test_an_issuer_that_says_nothing_holds_up_nobody(bench: Bench) -> None:
    """A connection that is never answered ends after `timeout_s`, and the loop went on meanwhile."""
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    async with silent:
        uri = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/jwks"
        bench.keys(uri, Times(interval_s=0.05, timeout_s=0.2))
        turns = 0
        async with asyncio.timeout(5):
            while "issuer_down" not in bench.events():
                await asyncio.sleep(0.01)
                turns += 1

        assert turns >= 10


async def test_a_bug_does_not_end_the_task(bench: Bench) -> None:
    """Whatever goes wrong in reading, it is told and tried again."""
    issuer, calls = Issuer(), 0

    async def read() -> bytes:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return issuer.jwks_bytes()

    keys = Keys("ci", read, Times(refresh_s=0.01, interval_s=0.01), bench.clock, bench.telemetry)
    bench.running.append(keys)
    keys.start()
    await until(lambda: keys.usable)

    assert "internal" in bench.events()


@pytest.mark.parametrize(
    "uri",
    [
        "http://ci.example/jwks", "ftp://ci.example", "https://", "https://user@ci.example", "https://u:p@ci.example/",
        "https://ci.example/#x", "ci.example", "", "http://127.0.0.1.example/", "https://ci.example:port/",
        "https://[::1", "https://cí.example/", "file:///etc/passwd", "http://localhost@evil.example/",
    ],
)  # fmt: skip
def test_uris_must_be_plain_https(uri: str) -> None:
    """http is for the loopback; no user, no fragment, no other scheme."""
    with pytest.raises(ConfigError):
        check_uri(uri, "jwks_uri")


def test_good_uris() -> None:
    """https anywhere, http to this machine."""
    for uri in ("https://ci.example/a?b=c", "https://ci.example:8443", "http://localhost:1/", "http://127.0.0.2/x"):
        check_uri(uri, "jwks_uri")
    check_uri("http://[::1]:80/", "jwks_uri")


# ---- from a file ----


async def test_a_file_is_read_when_it_changes(bench: Bench, tmp_path: Path) -> None:
    """A new set counts within a moment; a wrong one leaves the old in use and is told; grace has no end."""
    issuer = Issuer()
    path = issuer.write(tmp_path / "jwks.json")
    keys = Keys(
        "ci", from_file(path), Times(refresh_s=0.02, interval_s=0.01, grace_s=None), bench.clock, bench.telemetry
    )
    bench.running.append(keys)
    await started(keys, path)
    assert sought(keys, issuer.kid, bench) is not None

    issuer.rotate()
    issuer.write(path)
    await until(lambda: keys.generation == 2)
    assert sought(keys, issuer.kid, bench) is not None

    path.write_text("{")
    await until(lambda: "issuer_down" in bench.events())
    bench.clock.advance(1e6)
    assert sought(keys, issuer.kid, bench) is not None

    issuer.write(path)
    await until(lambda: bench.events()[-1] == "issuer_back")


async def test_a_file_must_be_there_at_the_start(bench: Bench, tmp_path: Path) -> None:
    """CannotStart JWKS_FILE without a usable one."""
    path = tmp_path / "jwks.json"
    for content in (None, b"{}"):
        if content is not None:
            path.write_bytes(content)
        keys = Keys("ci", from_file(path), QUICK, bench.clock, bench.telemetry)
        with pytest.raises(CannotStart) as caught:
            await started(keys, path)
        assert caught.value.reason == "JWKS_FILE"
