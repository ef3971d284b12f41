"""A small CA for development nodes: server, clients, each with what TLS and our identities need.

Guarantees: a client certificate has exactly one URI SAN and is for client authentication alone. Does not: replace an
organisation's CA; keys lie in plain files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "sealpress development CA"
LIFETIME = timedelta(days=90)
BACKDATED = timedelta(minutes=5)  # clocks of one machine park differ


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA whose key is at hand."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_authority(now: datetime, name: str = NAME) -> Authority:
    """A self-signed CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(name)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(subject, subject, key, now - BACKDATED, now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(
    authority: Authority,
    directory: Path,
    name: str,
    *,
    now: datetime,
    uris: tuple[str, ...] = (),
    hosts: tuple[str, ...] = (),
    server: bool = False,
    lifetime: timedelta = LIFETIME,
) -> None:
    """Write `<name>.pem` and `<name>.key` (mode 0600) into `directory`."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    names += [_host(host) for host in hosts]
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    subject = _common_name(name)
    end = now + lifetime
    builder = (
        _builder(subject, authority.certificate.subject, key, min(now, end) - BACKDATED, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = directory / f"{name}.key"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def has_ended(path: Path, now: datetime) -> bool:
    """Whether this is a certificate of a development CA, and over; somebody's own is for him to renew."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return found.issuer == _common_name(NAME) and found.not_valid_after_utc <= now


def write_authority(authority: Authority, path: Path) -> None:
    """The CA's certificate as PEM."""
    path.write_bytes(authority.certificate.public_bytes(Encoding.PEM))


def now_utc(now_ns: int) -> datetime:
    """For certificates: whole seconds."""
    return datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
