"""Does a call say who makes it, by the token in its metadata or the certificate of its connection?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from kit.issuer import URLS
from kit.token_desk import HOME, Desk
from sealpress.errors import NotPermitted
from sealpress.rpc.interceptors import Callers
from sealpress.rpc.tokens import Tokens, bearer
from sealpress.steps._request import Caller
from sealpress.telemetry import Telemetry
from sealpress.values import Identity


class Call:
    """A gRPC call as a token listener sees it."""

    def __init__(self, *metadata: tuple[str, Any], auth: dict[str, list[bytes]] | None = None) -> None:
        """With this metadata and authentication of the connection."""
        self._metadata = metadata
        self._auth = auth or {}

    def peer(self) -> str:
        """As gRPC."""
        return HOME

    def auth_context(self) -> dict[str, list[bytes]]:
        """As gRPC."""
        return self._auth

    def time_remaining(self) -> float | None:
        """As gRPC."""
        return None

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """As gRPC."""
        return self._metadata


def test_the_token_stands_in_the_metadata() -> None:
    """One `authorization: Bearer …`, in any case; nothing, several or another scheme are refused."""
    assert bearer((("x", "y"), ("authorization", "Bearer a.b.c"))) == "a.b.c"
    assert bearer((("authorization", "bearer a.b.c"),)) == "a.b.c"
    for metadata, reason in [
        ((), "TOKEN_MISSING"),
        (None, "TOKEN_MISSING"),
        ((("authorization", "Bearer a.b.c"),) * 2, "TOKEN_INVALID"),
        ((("authorization", "Basic abc"),), "TOKEN_INVALID"),
        ((("authorization", b"\xff"),), "TOKEN_INVALID"),
        ((("authorization", ""),), "TOKEN_INVALID"),
    ]:
        with pytest.raises(NotPermitted) as caught:
            bearer(metadata)
        assert caught.value.reason == reason
        assert "authorization: Bearer" in caught.value.hint  # which a fresh token would not change


def test_callers_of_a_token_listener() -> None:
    """A caller by token; consumed once with `once`; with a flaw once the token has ended in a long call."""
    desk = Desk()
    callers = Callers(desk.clock, Telemetry(desk.clock), desk.tokens)
    call = Call(("authorization", f"Bearer {desk.github.token()}"))
    caller = callers.caller(call)

    assert (caller.identity.issuer, caller.source, caller.flaw) == (URLS["github"], HOME, "")
    assert [callers.caller(call, once=True).flaw for _ in range(3)] == ["", "TOKEN_REPLAYED", "TOKEN_REPLAYED"]
    assert callers.caller(call).flaw == ""
    assert callers.still(caller, call) is caller
    desk.clock.advance(361)
    assert callers.still(caller, call).flaw == "TOKEN_EXPIRED"
    with pytest.raises(NotPermitted):
        callers.caller(Call())


def test_a_withdrawn_key_ends_its_tokens_in_a_long_call() -> None:
    """Its issuer has other keys: the token is verified with those, and counts for nothing once its own is gone."""
    desk = Desk()
    callers = Callers(desk.clock, Telemetry(desk.clock), desk.tokens)
    call = Call(("authorization", f"Bearer {desk.github.token()}"))
    caller = callers.caller(call)
    desk.keys["github"].again()
    assert callers.still(caller, call) is caller

    del desk.github.keys[desk.github.kid]
    desk.github.rotate()
    desk.keys["github"].again()
    for _ in range(2):
        with pytest.raises(NotPermitted) as caught:
            callers.still(caller, call)
        assert "TOKEN_INVALID" == caught.value.reason


def test_a_certificate_decides_where_there_is_one() -> None:
    """On a listener with mutual TLS a token is not looked at; without tokens at all a certificate is demanded."""
    desk = Desk()
    metadata = ("authorization", f"Bearer {desk.github.token()}")
    with pytest.raises(NotPermitted) as caught:
        Callers(desk.clock, Telemetry(desk.clock), desk.tokens).caller(Call(metadata, auth={"x509_pem_cert": [b"no"]}))
    assert caught.value.reason == "IDENTITY_AMBIGUOUS"
    with pytest.raises(NotPermitted, match="no client certificate"):
        Callers(desk.clock, Telemetry(desk.clock)).caller(Call(metadata))


async def test_nothing_waits() -> None:
    """Identifying is no coroutine: whatever the token, the answer is there at once."""
    assert not asyncio.iscoroutinefunction(Tokens.identify)


@pytest.mark.parametrize("listener", ["certificates", "tokens"])
def test_a_certificate_ends_in_a_long_call_at_its_second(listener: str) -> None:
    """Its end is exact on every listener; who had a flaw when he came keeps that one."""
    desk = Desk()
    callers = Callers(desk.clock, Telemetry(desk.clock), desk.tokens if listener == "tokens" else None)
    now = desk.clock.now_ns() // 1_000_000_000
    caller, flawed = (Caller(Identity("uri:a", bytes(32), now + 1), HOME, flaw=flaw) for flaw in ("", "AMBIGUOUS"))
    assert callers.still(caller, Call()) is caller
    desk.clock.advance(1)

    assert callers.still(caller, Call()).flaw == "CREDENTIAL_EXPIRED"
    assert callers.still(flawed, Call()) is flawed


def test_only_a_good_token_has_one_use() -> None:
    """A certificate has any number, and what is refused for its flaw takes the use of nobody."""
    desk = Desk()
    callers = Callers(desk.clock, Telemetry(desk.clock), desk.tokens)
    certified = Caller(Identity("uri:a", bytes(32), 1 << 40), HOME)
    caller = callers.caller(Call(("authorization", f"Bearer {desk.github.token()}")))
    flawed = structs.replace(caller, flaw="TOKEN_EXPIRED")

    assert [callers.consumed(one) for one in (certified, certified, flawed)] == [certified, certified, flawed]
    assert [callers.consumed(caller).flaw for _ in range(2)] == ["", "TOKEN_REPLAYED"]
    callers.give_back(caller)
    assert callers.consumed(caller) is caller
    assert Callers(desk.clock, Telemetry(desk.clock)).consumed(caller) is caller
