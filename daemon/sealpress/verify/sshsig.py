"""Signatures of persons: SSHSIG files as `ssh-keygen -Y sign` writes them, and the public keys that make them.

Guarantees: what is accepted here, stock `ssh-keygen -Y verify` accepts, too; a key and a signature file have one
spelling each, to the byte; hash sha512 only; RSA from 3072 bits; a key of small order, under which anybody can sign,
is no key. Does not: judge the flags of a FIDO2 key (`ssh-keygen` does not, either): it hands them out; know whose key
it is.

ECDSA has two signatures for each one that is made (s and -s); FIDO2 keys give either, so both count. Nothing may take
a signature for an identity: what makes an approval unique is its nonce.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealpress.errors import Invalid

ED25519 = "ssh-ed25519"
RSA = "ssh-rsa"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"  # an algorithm of SK_ECDSA keys, not a type of keys

KEY_CHARACTERS_MAX = 8 << 10
ARMOR_CHARACTERS_MAX = 16 << 10
RSA_BITS_MIN, RSA_BITS_MAX = 3072, 8192

_CURVES: dict[str, tuple[str, ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "ecdsa-sha2-nistp256": ("nistp256", ec.SECP256R1(), hashes.SHA256()),
    "ecdsa-sha2-nistp384": ("nistp384", ec.SECP384R1(), hashes.SHA384()),
    "ecdsa-sha2-nistp521": ("nistp521", ec.SECP521R1(), hashes.SHA512()),
    SK_ECDSA: ("nistp256", ec.SECP256R1(), hashes.SHA256()),
}
_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}

_MAGIC = b"SSHSIG"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_ARMOR_COLUMNS = 70
_HASH = "sha512"
_ATTESTED, _EXTENDED = 0x40, 0x80  # flags of FIDO2 that say what else the authenticator's data hold

_P25519 = 2**255 - 19
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # of two of the points of order 8
_SMALL_ORDER_Y = frozenset({0, 1, _P25519 - 1, _Y8, _P25519 - _Y8})

_Key = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key of OpenSSH; `sk` says that it lives in a FIDO2 authenticator, `application` for what."""

    type: str
    blob: bytes
    fingerprint: str  # SHA256:..., as `ssh-keygen -l` prints it
    application: str
    sk: bool
    _key: _Key = field(repr=False, compare=False)

    @property
    def line(self) -> str:
        """As in an authorized_keys file, without a comment."""
        return f"{self.type} {base64.b64encode(self.blob).decode()}"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds: which key made it, and what a FIDO2 key said of the moment (None for others)."""

    key: PublicKey
    flags: int | None
    counter: int | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signature file as it reads; nothing in it is proved before `verify`."""

    key: PublicKey
    namespace: str
    algorithm: str
    signature: bytes
    flags: int | None = None
    counter: int | None = None
    origin: str = ""  # of a browser: the page, the JSON it signed, and the authenticator's extensions
    client_data: bytes = b""
    extensions: bytes = b""

    def verify(self, message: bytes) -> Signed:
        """Invalid SSHSIG_SIGNATURE unless the key signed this message for this namespace."""
        inner = _text(self.namespace) + _string(b"") + _text(_HASH) + _string(hashlib.sha512(message).digest())
        signed = _MAGIC + inner
        if self.flags is not None and self.counter is not None:
            shown = signed
            if self.algorithm == WEBAUTHN:
                self._check_client_data(signed)
                shown = self.client_data
            said = bytes([self.flags]) + self.counter.to_bytes(4, "big") + self.extensions
            signed = _sha256(self.key.application.encode()) + said + _sha256(shown)
        try:
            self._check(signed)
        except (InvalidSignature, ValueError):
            raise _invalid("the signature does not fit this text and key", "SSHSIG_SIGNATURE") from None
        return Signed(self.key, self.flags, self.counter)

    def _check(self, signed: bytes) -> None:
        key = self.key._key
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(self.signature, signed)
        elif isinstance(key, rsa.RSAPublicKey):
            if len(self.signature) != (key.key_size + 7) // 8:
                raise InvalidSignature
            key.verify(self.signature, signed, padding.PKCS1v15(), _RSA_HASHES[self.algorithm])
        else:
            reader = _Reader(self.signature)
            der = encode_dss_signature(reader.natural(), reader.natural())
            reader.end()
            key.verify(der, signed, ec.ECDSA(_CURVES[self.key.type][2]))

    def _check_client_data(self, challenge: bytes) -> None:
        encoded = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        head = f'{{"type":"webauthn.get","challenge":"{encoded}","origin":"{self.origin}"'.encode()
        rest = self.client_data[len(head) :]
        # A page inside another site's frame says `"crossOrigin":true` here.
        ends = rest == b"}" or (rest.startswith(b',"crossOrigin":false') and rest.endswith(b"}"))
        if not self.client_data.startswith(head) or not ends:
            raise _invalid("the browser signed something else", "SSHSIG_SIGNATURE")


@lru_cache(maxsize=1024)  # values never change, and the same few keys come again and again
def parse_public_key(text: str) -> PublicKey:
    """From one line `type base64 [comment]`; Invalid SSHSIG_KEY for anything else."""
    words = text.removesuffix("\n").split(" ", 2)
    if len(text) > KEY_CHARACTERS_MAX or len(words) < 2 or not text.removesuffix("\n").isprintable():
        raise _invalid("a public key is one line: type, base64, comment", "SSHSIG_KEY")
    blob = _base64(words[1], "SSHSIG_KEY")
    key = _public_key(blob)
    if key.type != words[0]:
        raise _invalid(f"the line says {words[0]}, the key is {key.type}", "SSHSIG_KEY")
    return key


def parse(armored: str, namespace: str) -> Envelope:
    """Read a signature file made for this namespace. Invalid with a reason SSHSIG_…; nothing is proved yet."""
    reader = _Reader(_dearmor(armored))
    if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != 1:
        raise _invalid("not an SSH signature of version 1", "SSHSIG_FORMAT")
    blob, found, reserved, algorithm = reader.string(), reader.text(), reader.string(), reader.text()
    if found != namespace:
        raise _invalid(f"made for namespace {found!r}, not {namespace!r}", "SSHSIG_NAMESPACE")
    if algorithm != _HASH or reserved:
        raise _invalid("the message is hashed with sha512, and nothing is reserved", "SSHSIG_HASH")
    inner = reader.string()
    reader.end()
    return _envelope(_public_key(blob), namespace, _Reader(inner))


def verify(armored: str, message: bytes, namespace: str) -> Signed:
    """Who signed this message for this namespace. Invalid with a reason SSHSIG_… if nobody did."""
    return parse(armored, namespace).verify(message)


def _envelope(key: PublicKey, namespace: str, reader: _Reader) -> Envelope:
    algorithm, signature = reader.text(), reader.string()
    allowed = tuple(_RSA_HASHES) if key.type == RSA else (SK_ECDSA, WEBAUTHN) if key.type == SK_ECDSA else (key.type,)
    if algorithm not in allowed:
        raise _invalid(f"a key of type {key.type} does not sign with {algorithm}", "SSHSIG_KEY")
    if not key.sk:
        reader.end()
        return Envelope(key, namespace, algorithm, signature)
    flags, counter = reader.take(1)[0], reader.number()
    if algorithm != WEBAUTHN:
        reader.end()
        return Envelope(key, namespace, algorithm, signature, flags, counter)
    origin, client_data, extensions = reader.text(), reader.string(), reader.string()
    reader.end()
    if '"' in origin or flags & _ATTESTED or bool(flags & _EXTENDED) != bool(extensions):
        raise _invalid("the browser's data contradict one another", "SSHSIG_FORMAT")
    return Envelope(key, namespace, algorithm, signature, flags, counter, origin, client_data, extensions)


def _public_key(blob: bytes) -> PublicKey:
    reader = _Reader(blob)
    type_ = reader.text()
    key: _Key
    if type_ in (ED25519, SK_ED25519):
        key = _ed25519(reader.string())
    elif type_ in _CURVES:
        key = _point(reader, type_)
    elif type_ == RSA:
        exponent, modulus = reader.natural(), reader.natural()
        if exponent != 65537 or not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX or not modulus & 1:
            raise _invalid(f"RSA has the exponent 65537 and {RSA_BITS_MIN} to {RSA_BITS_MAX} bits", "SSHSIG_KEY")
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    else:
        raise _invalid(f"keys of type {type_!r} are not accepted", "SSHSIG_KEY")
    sk = type_ in (SK_ED25519, SK_ECDSA)
    application = reader.text() if sk else ""
    reader.end()
    fingerprint = base64.b64encode(_sha256(blob)).rstrip(b"=").decode()
    return PublicKey(type_, blob, f"SHA256:{fingerprint}", application, sk, key)


def _ed25519(raw: bytes) -> ed25519.Ed25519PublicKey:
    y = int.from_bytes(raw, "little") & (1 << 255) - 1
    if len(raw) != 32 or y >= _P25519 or y in _SMALL_ORDER_Y:
        raise _invalid("not an Ed25519 key", "SSHSIG_KEY")
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


def _point(reader: _Reader, type_: str) -> ec.EllipticCurvePublicKey:
    name, curve, _ = _CURVES[type_]
    found, point = reader.text(), reader.string()
    if found != name or point[:1] != b"\x04":
        raise _invalid(f"not an uncompressed point of {name}", "SSHSIG_KEY")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        raise _invalid(f"not a point of {name}", "SSHSIG_KEY") from None


class _Reader:
    """What is left of some bytes; all of SSH's fields carry their length."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, size: int) -> bytes:
        found = self._raw[self._at : self._at + size]
        if len(found) != size:
            raise _invalid("it ends too early", "SSHSIG_FORMAT")
        self._at += size
        return found

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        raw = self.string()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = ""
        if not text or not text.isprintable():
            raise _invalid("a name in it is not printable text", "SSHSIG_FORMAT")
        return text

    def natural(self) -> int:
        """An mpint that is not negative, in its one encoding."""
        raw = self.string()
        if not raw or raw[0] & 0x80 or (raw[0] == 0 and not (len(raw) > 1 and raw[1] & 0x80)):
            raise _invalid("a number in it is not in its one encoding", "SSHSIG_FORMAT")
        return int.from_bytes(raw, "big")

    def end(self) -> None:
        if self._at != len(self._raw):
            raise _invalid("something follows at its end", "SSHSIG_FORMAT")


def _dearmor(armored: str) -> bytes:
    if len(armored) > ARMOR_CHARACTERS_MAX:
        raise _invalid("a signature file is at most 16 KiB", "SSHSIG_ARMOR")
    body = armored.removeprefix(_BEGIN + "\n").removesuffix(_END + "\n").replace("\n", "")
    raw = _base64(body, "SSHSIG_ARMOR")
    wrapped = [body[at : at + _ARMOR_COLUMNS] for at in range(0, len(body), _ARMOR_COLUMNS)]
    if armored != "\n".join([_BEGIN, *wrapped, _END, ""]):
        raise _invalid("not a signature file as ssh-keygen writes it", "SSHSIG_ARMOR")
    return raw


def _base64(text: str, reason: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise _invalid("not base64 in its one encoding", reason)
    return raw


def _text(text: str) -> bytes:
    return _string(text.encode())


def _string(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _invalid(message: str, reason: str) -> Invalid:
    hint = "give the public key's line, as in the .pub file" if reason == "SSHSIG_KEY" else ""
    return Invalid(message, reason=reason, hint=hint or "sign with: ssh-keygen -Y sign -n NAMESPACE -f KEY FILE")
