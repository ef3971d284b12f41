"""Certificate requests signed by a key on a token, and the check of the chain that comes back.

python-cryptography signs with any object that has the methods of its private keys; the classes here have those and hand
the work to the token. That is duck typing and not a documented promise: a test pins it.

Guarantees: a request verifies under its own key before it is handed out; a chain begins with this key, each certificate
is issued by the next one, and all are valid now. Does not: trust the chain's end; who uses the certificate does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sealpress.errors import Invalid
from sealpress.verify.change import Canonical, Hex32, Name
from sealpress.verify.curves import HASHES
from sealpress.verify.direct import usual_algorithm

CHAIN_MAX = 8  # as many as the governance log takes
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
Sign = Callable[[bytes], bytes]


class Certified(Canonical, frozen=True, kw_only=True):
    """The fields of the fact key.certified."""

    key: Name
    chain_sha256: Hex32
    chain: str  # PEM, the key's own certificate first
    operator: Name


def request(spki: bytes, subject: str, sign: Sign) -> bytes:
    """A PKCS#10 request in PEM; `subject` as RFC 4514 writes it, `sign` returns the key's signature of a message."""
    try:
        name = x509.Name.from_rfc4514_string(subject)
    except ValueError as error:
        raise Invalid(f"not a subject: {error}", reason="SUBJECT", hint="for example CN=acme firmware,O=acme") from None
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    public = load_der_public_key(spki)
    if isinstance(public, ed25519.Ed25519PublicKey):
        made = builder.sign(_Ed25519(public, sign), None)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        made = builder.sign(_Ec(public, sign), HASHES[usual_algorithm(public)])
    elif isinstance(public, rsa.RSAPublicKey):
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        made = builder.sign(_Rsa(public, sign), hashes.SHA256(), rsa_padding=scheme)
    else:
        raise Invalid("a key of this kind signs no request", reason="KEY")
    if not made.is_signature_valid or _spki(made.public_key()) != spki:
        raise Invalid("the request does not verify under its own key", reason="WRONG_SIGNATURE")
    return made.public_bytes(Encoding.PEM)


def attach(key: str, spki: bytes, chain: bytes, operator: str, now: int) -> Certified:
    """The chain's report; Invalid CHAIN if it is not this key's, broken, or not valid now."""
    try:
        found = x509.load_pem_x509_certificates(chain)
        own = _spki(found[0].public_key())
    except _UNREADABLE as error:
        raise _chain(f"it cannot be read: {error}") from None
    if len(found) > CHAIN_MAX:
        raise _chain(f"it has more than {CHAIN_MAX} certificates")
    if own != spki:
        raise _chain("its first certificate is of another key")
    moment = datetime.fromtimestamp(now, UTC)
    for position, one in enumerate(found):
        if not one.not_valid_before_utc <= moment <= one.not_valid_after_utc:
            raise _chain(f"certificate {position} is not valid now")
        issuer = found[position + 1] if position + 1 < len(found) else None
        if issuer is not None:
            _check_issued(one, issuer, position)
    text = "".join(one.public_bytes(Encoding.PEM).decode() for one in found)
    return Certified(key=key, chain_sha256=hashlib.sha256(text.encode()).hexdigest(), chain=text, operator=operator)


def _check_issued(one: x509.Certificate, issuer: x509.Certificate, position: int) -> None:
    try:
        one.verify_directly_issued_by(issuer)
        authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, *_UNREADABLE):
        raise _chain(f"certificate {position} is not issued by the next one") from None
    except x509.ExtensionNotFound:
        authority = False
    if not authority:
        raise _chain(f"certificate {position + 1} is no authority's")


def _chain(message: str) -> Invalid:
    return Invalid(
        f"the chain: {message}", reason="CHAIN", hint="PEM certificates, the key's own first, issuers after it"
    )


def _spki(public: Any) -> bytes:
    return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


class _OnToken:
    """What the three kinds have in common: a public half, and a token for the private one."""

    def __init__(self, public: Any, sign: Sign) -> None:
        self._public = public
        self._sign = sign

    def public_key(self) -> Any:
        return self._public

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Any:
        return self

    def sign(self, data: bytes, *_how: Any, **_more: Any) -> bytes:
        """The algorithm is the key's own: the caller's arguments say the same."""
        return self._sign(data)

    def _none(self, *_arguments: Any, **_more: Any) -> NoReturn:
        raise TypeError("the private key is on a token")

    private_bytes = private_bytes_raw = private_numbers = exchange = decrypt = _none


class _Ed25519(_OnToken, ed25519.Ed25519PrivateKey):  # type: ignore[misc]
    pass


class _Ec(_OnToken, ec.EllipticCurvePrivateKey):  # type: ignore[misc]
    @property
    def curve(self) -> Any:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return int(self._public.key_size)


class _Rsa(_OnToken, rsa.RSAPrivateKey):
    @property
    def key_size(self) -> int:
        return int(self._public.key_size)
