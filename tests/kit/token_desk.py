"""Tokens under test: issuers of each kind whose keys are at hand, and what is said to a token of theirs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from kit.clock import VirtualClock
from kit.issuer import AUDIENCE, URLS, Issuer
from sealpress.errors import SealpressError, Unavailable
from sealpress.governance.claims import Kind
from sealpress.rpc import tokens
from sealpress.rpc.jwks import Keys, parse_set
from sealpress.rpc.tokens import Tokens
from sealpress.values import Identity

NOW_S = 1_800_000_000
HOME = "ipv4:192.0.2.1:4000"
KINDS = ("github", "gitlab", "buildkite", "generic")


class HeldKeys:
    """The issuer's keys at hand, as rpc.jwks.Keys would hold them."""

    def __init__(self, issuer: Issuer) -> None:
        """As of now."""
        self.issuer = issuer
        self.generation = 1
        self.down = False
        self.asked = 0
        self.set = parse_set(issuer.jwks_bytes())

    def find(self, kid: str, algorithm: str, issued_s: int) -> Any:
        """As Keys.find."""
        self.asked += 1
        if self.down:
            raise Unavailable("down", reason="ISSUER_DOWN", retry_after_ms=1_000)
        return self.set.keys.get((kid, algorithm))

    def again(self) -> None:
        """The issuer's keys were read again."""
        self.set = parse_set(self.issuer.jwks_bytes())
        self.generation += 1


class Desk:
    """Tokens under test: one issuer of each kind."""

    def __init__(self, *, algorithm: str = "ES256", owners: frozenset[str] = frozenset(), **settings: Any) -> None:
        """`settings` are those of Tokens."""
        self.clock = VirtualClock(NOW_S)
        self.issuers = {kind: Issuer(kind, algorithm=algorithm, now_s=NOW_S) for kind in KINDS}
        self.keys = {kind: HeldKeys(issuer) for kind, issuer in self.issuers.items()}
        known = {
            URLS[kind]: tokens.Issuer(kind, URLS[kind], cast(Kind, kind), cast(Keys, self.keys[kind]), owners)
            for kind in KINDS
        }
        self.tokens = Tokens(AUDIENCE, known, self.clock, **settings)
        self.github = self.issuers["github"]

    def identity(self, token: str, source: str = HOME) -> Identity:
        """Of a token without flaw."""
        verified = self.tokens.identify(token, source)
        assert verified.flaw == ""
        return verified.identity

    def refusal(self, token: str, source: str = HOME) -> SealpressError:
        """What is said to a token that is not taken."""
        with pytest.raises(SealpressError) as caught:
            self.tokens.identify(token, source)
        assert caught.value.hint
        return caught.value

    def reason(self, token: str, source: str = HOME) -> str:
        """Its reason."""
        return self.refusal(token, source).reason
