"""Our own certificate, looked at before the server does: gRPC closes a refused handshake without a reason.

Guarantees: what the server would refuse for sure is said here, by name and with what to do. Does not: know which CA the
server trusts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealpress.client.config import ClientConfig
from sealpress.errors import ConfigError, TransportError
from sealpress.reading import read_whole

# A daemon that is gone without a word is noticed while a call waits for it, so that no stream waits for ever.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)
# How long gRPC itself fails calls without trying to connect. By default up to two minutes, so that all our retries may
# be over before one of them has left this machine, though the daemon is long back.
RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

THREE_THINGS = (
    "check three things: (1) the certificate in client.toml is issued by the CA that the server names as client_ca, "
    "(2) it is within its dates and made for client authentication, "
    "(3) `ca` in client.toml is the CA of the server's certificate and the address is a name in it"
)


def credentials(config: ClientConfig, now: datetime | None = None) -> grpc.ChannelCredentials:
    """For a channel; ConfigError if the files do not do, TransportError for a certificate that nobody would accept."""
    roots = _read(config.path(config.ca), "ca")
    try:
        x509.load_pem_x509_certificates(roots)
    except ValueError:
        raise ConfigError(f"ca = {config.path(config.ca)}: no certificates in PEM", reason="CERTIFICATE") from None
    if config.token and not config.cert and not config.key:
        return grpc.ssl_channel_credentials(roots)  # for token listeners: they ask for no certificate
    if not config.cert or not config.key:
        raise ConfigError(
            "client.toml names no certificate (cert, key) and no token",
            reason="NO_CERTIFICATE",
            hint="ask for a client certificate with one URI SAN, or for a token of the CI, and name it in client.toml",
        )
    certificate, key = _read(config.path(config.cert), "cert"), _read(config.path(config.key), "key")
    check_certificate(certificate, key, now or datetime.now(UTC))
    return grpc.ssl_channel_credentials(roots, key, certificate)


def stamps(config: ClientConfig) -> list[tuple[int, int, int] | None]:
    """What changes with the files of `credentials`."""
    return [_stamp(config.path(name)) for name in (config.ca, config.cert, config.key)]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def check_certificate(certificate: bytes, key: bytes, now: datetime) -> None:
    """TransportError if it is expired, not yet valid, not for client authentication; ConfigError if not of this key."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        private, public = load_pem_private_key(key, None), leaf.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the client certificate or its key cannot be read: {error}", reason="CERTIFICATE") from None
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*encoding) != public.public_bytes(*encoding):
        raise ConfigError("the client key does not belong to the certificate", reason="CERTIFICATE")
    if now > leaf.not_valid_after_utc:
        raise TransportError(
            f"the client certificate expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
            reason="CERTIFICATE_EXPIRED",
            hint="renew it; nothing was sent",
        )
    if now < leaf.not_valid_before_utc:
        raise TransportError(
            f"the client certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC",
            reason="CERTIFICATE_EXPIRED",
            hint="check this machine's clock",
        )
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return  # an extension that our library cannot read is the server's to judge
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
        raise TransportError(
            "the client certificate is not made for client authentication (extended key usage)",
            reason="CERTIFICATE_USAGE",
            hint="issue one with clientAuth",
        )


def _read(path: Path, what: str) -> bytes:
    try:
        return read_whole(path)
    except OSError as error:
        raise ConfigError(f"{what} = {path}: {error.strerror}", reason="CERTIFICATE") from None
