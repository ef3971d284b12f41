"""Who asks: from a bearer token that a registered issuer signed for us, on listeners with `auth = "token"`.

Cheap questions first, so that what is wrong on its face costs no signature check: length and form, issuer, algorithm,
audience, times, is it known to be wrong, is there a key, is there room, are checks still allowed from there. Then the
signature; only what the signature covers becomes an identity.

A token is good for any number of calls until it ends: it is remembered by its SHA-256. Its `jti` belongs to that one
token; another token with the same `jti` is a replay (flaw TOKEN_REPLAYED, so that it is recorded). What may be had once
for a token (a grant) takes `consume`.

Guarantees: asymmetric algorithms only, each with keys of its type; issuer, audience and times are exact; nothing waits:
keys that are not at hand are Unavailable ISSUER_DOWN; errors do not say which check of genuineness failed; no token is
kept, only its hash. Does not: decide what the identity may, or keep anything across restarts (the log does: `had_s`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt
import msgspec

from sealpress.errors import NotPermitted
from sealpress.governance import claims
from sealpress.ports import Clock
from sealpress.rpc.jwks import ALGORITHMS, KID_MAX, Keys, PublicKey
from sealpress.rpc.replay import Budget, Owner, Use, Uses
from sealpress.values import Identity

TOKEN_BYTES_MAX = 16 << 10
HEADER_CHARACTERS_MAX = 2_048
TEXT_MAX = 1_024  # subject; also jti
VERIFIED_MAX = 16_384
REFUSED_MAX = 4_096
SECONDS_MAX = 1 << 40
NANOSECONDS = 1_000_000_000
SCHEME = "bearer "
REPLAYED = "TOKEN_REPLAYED"
EXPIRED = "TOKEN_EXPIRED"

_FORM = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.[A-Za-z0-9_-]++", re.ASCII)
_TYPES = ("JWT", "jwt", "JOSE", None)  # not those of other uses, as "logout+jwt"
_WITH_JTI = ("github", "gitlab")
_JWS = jwt.PyJWS(algorithms=sorted(ALGORITHMS))
_SENT_SO = "send one metadata `authorization: Bearer …` with each call, with a token of the CI"
_FRESH = "get a fresh one from the CI for this daemon"

Metadata = Any  # of a grpc call: pairs of name and value


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may sign tokens, what CI it is, and with what keys."""

    id: str  # as in [issuer.<id>]
    url: str  # `iss`, exactly
    kind: claims.Kind
    keys: Keys
    owners: frozenset[str] = frozenset()  # owner ids whose tokens are looked at; empty: all


@dataclass(frozen=True, slots=True)
class Verified:
    """A genuine token of ours; with a `flaw` it counts for nothing all the same."""

    identity: Identity
    flaw: str
    issuer: Issuer
    generation: int  # of the issuer's keys
    until_ns: int  # its end, and the skew


@dataclass(frozen=True, slots=True)
class _Read:
    """A token's text taken apart; nothing of it is verified."""

    kid: str
    algorithm: str
    body: bytes
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Span:
    issued_s: int
    ends_s: int


class Tokens:
    """Tokens seen, each verified once."""

    def __init__(
        self,
        audience: str,
        issuers: Mapping[str, Issuer],
        clock: Clock,
        *,
        lifetime_s_max: int = 900,
        skew_s: int = 60,
        uses: Uses | None = None,
    ) -> None:
        """`issuers` by URL."""
        self._audience = audience
        self._issuers = dict(issuers)
        self._clock = clock
        self._lifetime_s_max = lifetime_s_max
        self.skew_s = skew_s
        self._uses = Uses() if uses is None else uses
        self._budget = Budget(clock)
        self._verified: dict[bytes, Verified] = {}
        self._refused: dict[bytes, tuple[int, str, str, str]] = {}  # generation, message, reason, hint
        self.registered: Callable[[str, str, str], bool] | None = None
        """In a governed node: may tokens of this issuer be read (URL, kind, audience; GR-70)? Asked at every call."""
        self.had_s: Mapping[str, int] = {}
        """By identity, when it was last given what a token may have once, before this start: as the log tells."""

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """All of them."""
        return tuple(self._issuers.values())

    def identify(self, token: str, source: str) -> Verified:
        """Whose token it is. NotPermitted TOKEN_… if nobody's; Unavailable or Busy if that cannot be said now."""
        if len(token) > TOKEN_BYTES_MAX:
            raise NotPermitted(
                f"the token is longer than {TOKEN_BYTES_MAX} bytes",
                reason="TOKEN_INVALID",
                hint="ask the CI for one with less in it",
            )
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and self._still(known):
            return known
        return self._verify(token, digest, source)

    def knows(self, token: str) -> bool:
        """Whether `identify` would answer at once, and without an error."""
        if len(token) > TOKEN_BYTES_MAX:
            return False
        known = self._verified.get(sha256(token.encode()).digest())
        return known is not None and self._still(known)

    def stands(self, identity: Identity) -> bool:
        """Whether its token was verified with the keys that its issuer has now."""
        known = self._verified.get(identity.token_sha256)
        return known is not None and known.generation == known.issuer.keys.generation

    def consume(self, identity: Identity) -> bool:
        """The one use of a token for what may be had once; False if it was had."""
        return self._uses.consume(_use(identity.issuer, identity.jti, identity.signed_sha256))

    def give_back(self, identity: Identity) -> None:
        """That use came to nothing: nothing was had for it."""
        self._uses.give_back(_use(identity.issuer, identity.jti, identity.signed_sha256))

    def _still(self, known: Verified) -> bool:
        return (
            self._clock.now_ns() < known.until_ns
            and known.generation == known.issuer.keys.generation
            and (self.registered is None or self._is_registered(known.issuer))
        )

    def _is_registered(self, issuer: Issuer) -> bool:
        return self.registered is None or self.registered(issuer.url, issuer.kind, self._audience)

    # ---- the questions in their order ----

    def _verify(self, token: str, digest: bytes, source: str) -> Verified:
        now_s = self._clock.now_ns() // NANOSECONDS
        read = _read(token)
        issuer = self._issuer(read)
        span = self._check_span(read.payload, now_s)
        jti, subject = _jti(issuer, read.payload), _subject(read.payload)
        signed_sha256 = sha256(token.rpartition(".")[0].encode()).digest()
        use, owner = _use(issuer.url, jti, signed_sha256), self._owner(issuer, read.payload)
        refused = self._refused.get(digest)
        if refused is not None and refused[0] == issuer.keys.generation:
            raise NotPermitted(refused[1], reason=refused[2], hint=refused[3])
        key = issuer.keys.find(read.kid, read.algorithm, span.issued_s)
        if key is None:
            raise _invalid()
        self._uses.check_room(use, owner, now_s)
        self._budget.check(source)
        if not _genuine(token, key, read):
            self._budget.failed(source)
            raise self._refuse(digest, issuer, _invalid())
        try:
            said = claims.normalise(issuer.kind, issuer.url, self._audience, subject, read.payload)
        except NotPermitted as error:
            raise self._refuse(digest, issuer, error) from None
        flaw = "" if self._uses.see(use, owner, digest, span.ends_s) else REPLAYED
        id_ = f"oidc:{issuer.url}#{subject}"
        if self.had_s.get(id_, -1) >= span.issued_s:
            self._uses.consume(use)  # it may have been this token that had it
        identity = Identity(
            id=id_,
            certificate_sha256=b"",
            not_after=span.ends_s,
            issuer=issuer.url,
            subject=subject,
            claims=said,
            token_sha256=digest,
            jti=jti,
            signed_sha256=signed_sha256,
        )
        until_ns = (span.ends_s + self.skew_s) * NANOSECONDS
        verified = Verified(identity, flaw, issuer, issuer.keys.generation, until_ns)
        _keep(self._verified, digest, verified, VERIFIED_MAX)
        return verified

    def _issuer(self, read: _Read) -> Issuer:
        url = read.payload.get("iss")
        issuer = self._issuers.get(url) if isinstance(url, str) else None
        if issuer is None or not self._is_registered(issuer):
            raise NotPermitted(
                "tokens of this issuer are not taken here",
                reason="ISSUER_UNKNOWN",
                hint="use a token of a CI that the operator has registered",
            )
        return issuer

    def _check_span(self, payload: Mapping[str, Any], now_s: int) -> _Span:
        audience = payload.get("aud")
        if audience not in (self._audience, [self._audience]):
            raise NotPermitted(
                "the token was made for another audience, or for several",
                reason="TOKEN_AUDIENCE",
                hint=f"ask the CI for a token whose only audience is {self._audience}",
            )
        issued_s, ends_s = _seconds(payload, "iat"), _seconds(payload, "exp")
        begins_s = _seconds(payload, "nbf") if "nbf" in payload else issued_s
        if ends_s - issued_s > self._lifetime_s_max or ends_s <= issued_s:
            raise NotPermitted(
                f"the token lives longer than {self._lifetime_s_max} seconds",
                reason="TOKEN_LIFETIME",
                hint="ask the CI for a shorter one; GitLab gives it the `timeout` of the job",
            )
        if ends_s + self.skew_s <= now_s:
            raise NotPermitted("the token has expired", reason=EXPIRED, hint=_FRESH)
        if max(issued_s, begins_s) > now_s + self.skew_s:
            raise NotPermitted(
                "the token is not valid yet", reason=EXPIRED, hint="wait, or correct the clocks: ours or the CI's"
            )
        return _Span(issued_s, ends_s)

    def _owner(self, issuer: Issuer, payload: Mapping[str, Any]) -> Owner:
        owner = claims.owner(issuer.kind, payload)
        if issuer.owners and owner not in issuer.owners:
            raise NotPermitted(
                "tokens of this owner are not taken here",
                reason="OWNER_UNKNOWN",
                hint="use a job of an organisation that the operator has registered",
            )
        return issuer.url, owner

    def _refuse(self, digest: bytes, issuer: Issuer, error: NotPermitted) -> NotPermitted:
        """Remember, so that the same token costs no second check."""
        _keep(self._refused, digest, (issuer.keys.generation, error.message, error.reason, error.hint), REFUSED_MAX)
        return error


def bearer(metadata: Metadata) -> str:
    """The token of a call. NotPermitted TOKEN_MISSING or, for several, TOKEN_INVALID."""
    values = [value for name, value in metadata or () if name == "authorization"]
    if not values:
        raise NotPermitted(
            "this listener takes bearer tokens, and none was sent",
            reason="TOKEN_MISSING",
            hint=f"{_SENT_SO}; `token` in client.toml names a file with one",
        )
    value = values[0]
    if len(values) > 1 or not isinstance(value, str) or value[: len(SCHEME)].lower() != SCHEME:
        raise NotPermitted(
            "the metadata `authorization` is there more than once, or is no bearer's",
            reason="TOKEN_INVALID",
            hint=_SENT_SO,
        )
    return value[len(SCHEME) :]


def _read(token: str) -> _Read:
    match = _FORM.fullmatch(token)
    if match is None or len(match[1]) > HEADER_CHARACTERS_MAX:
        raise _invalid()
    header, (body, payload) = _object(match[1])[1], _object(match[2])
    kid, algorithm = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_MAX:
        raise _invalid()
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _invalid()
    if header.get("typ") not in _TYPES or "crit" in header or "b64" in header:
        raise _invalid()
    return _Read(kid, algorithm, body, payload)


def _object(segment: str) -> tuple[bytes, dict[str, Any]]:
    try:
        body = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        found = msgspec.json.decode(body)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _invalid() from None
    if not isinstance(found, dict):
        raise _invalid()
    return body, found


def _genuine(token: str, key: PublicKey, read: _Read) -> bool:
    """Whether the key signed exactly what was read."""
    try:
        found = _JWS.decode_complete(token, key, algorithms=[read.algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return bool(found["payload"] == read.body)


def _seconds(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SECONDS_MAX:
        raise _invalid()
    return value


def _subject(payload: Mapping[str, Any]) -> str:
    value = payload.get("sub")
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX or not value.isprintable():
        raise _invalid()
    return value


def _jti(issuer: Issuer, payload: Mapping[str, Any]) -> str:
    value = payload.get("jti", "")
    if not isinstance(value, str) or len(value) > TEXT_MAX or not value.isprintable():
        raise _invalid()
    if not value and issuer.kind in _WITH_JTI:
        raise _invalid()
    return value


def _use(issuer_url: str, jti: str, signed_sha256: bytes) -> Use:
    """A token without `jti` is known by what is signed: a signature has a second form. The prefixes keep both apart."""
    return issuer_url, f"jti:{jti}" if jti else f"sha256:{signed_sha256.hex()}"


def _keep(memory: dict[bytes, Any], digest: bytes, value: Any, most: int) -> None:
    """The oldest go first; whoever they belong to is verified again."""
    memory.pop(digest, None)
    memory[digest] = value
    if len(memory) > most:
        del memory[next(iter(memory))]


def _invalid() -> NotPermitted:
    return NotPermitted("the token is not whole, or not genuine", reason="TOKEN_INVALID", hint=_FRESH)
