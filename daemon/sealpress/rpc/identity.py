"""Who asks: from the client certificate of the connection, never from its address or common name.

`uri:<URI SAN>` when the certificate has exactly one URI SAN, `spki:sha256:<hex>` when it has none; several name nobody.

Guarantees: the same certificate bytes always give the same identity; its end is checked on every request; at most
CACHE_MAX certificates are remembered, by their bytes. Does not: verify the chain (TLS did), read tokens
(rpc/tokens.py), or decide what he may.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealpress.errors import NotPermitted
from sealpress.ports import Clock
from sealpress.steps._request import Caller
from sealpress.values import Identity

CACHE_MAX = 4_096
SOURCE_MAX = 256
NANOSECONDS = 1_000_000_000
AMBIGUOUS = "IDENTITY_AMBIGUOUS"
EXPIRED = "CREDENTIAL_EXPIRED"

AuthContext = dict[str, list[bytes]]  # as grpc hands it out, values as bytes


@dataclass(frozen=True, slots=True)
class _Known:
    identity: Identity
    uris: frozenset[bytes]
    flaw: str


class Identities:
    """Certificates seen, each parsed once."""

    def __init__(self, clock: Clock) -> None:
        """Empty."""
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def caller(self, auth: AuthContext, source: str, remaining_s: float | None) -> Caller:
        """The caller of a request; a flaw of his certificate stands in `flaw`. NotPermitted without a certificate."""
        pem = auth.get("x509_pem_cert")
        if not pem:
            raise NotPermitted("no client certificate was presented", hint="connect with the certificate of the client")
        known = self._known.get(pem[0])
        if known is None:
            known = self._parse(pem[0])
        else:
            self._known.move_to_end(pem[0])
        flaw = known.flaw
        if known.uris != frozenset(auth.get("peer_uri", ())):
            flaw = AMBIGUOUS  # the TLS library and our parser read the names differently
        if self._clock.now_ns() >= known.identity.not_after * NANOSECONDS:
            flaw = EXPIRED
        return self.bearer(known.identity, flaw, source, remaining_s)

    def bearer(self, identity: Identity, flaw: str, source: str, remaining_s: float | None) -> Caller:
        """The caller of that name, waiting for as long as his call may take."""
        expires_ns = 0
        if remaining_s is not None:
            expires_ns = self._clock.monotonic_ns() + int(remaining_s * NANOSECONDS)
        return Caller(identity, source[:SOURCE_MAX], expires_ns, flaw)

    def _parse(self, pem: bytes) -> _Known:
        known = parse_certificate(pem)
        self._known[pem] = known
        if len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)
        return known


def parse_certificate(pem: bytes) -> _Known:
    """Identity, names and flaw of a certificate. NotPermitted if it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        uris = _uris(certificate)
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        not_after = int(certificate.not_valid_after_utc.timestamp())
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise NotPermitted("the client certificate cannot be read", reason=AMBIGUOUS, hint="renew it") from error
    if len(uris) == 1 and uris[0].isascii() and uris[0].isprintable():
        return _Known(Identity(f"uri:{uris[0]}", digest, not_after), _raw(uris), "")
    id_ = f"spki:sha256:{hashlib.sha256(spki).hexdigest()}"
    return _Known(Identity(id_, digest, not_after), _raw(uris), AMBIGUOUS if uris else "")


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _raw(uris: list[str]) -> frozenset[bytes]:
    return frozenset(uri.encode() for uri in uris)
