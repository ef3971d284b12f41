"""The server's certificate and the CA of its clients: files that are read again when they change.

gRPC asks for the configuration at the start of each handshake (that is also where handshakes are counted: a refused one
leaves no other trace in gRPC). The answer must come at once, so files are looked at only every `reload_s`.

Guarantees: a changed set of files is used as a whole or not at all; wrong files leave the old ones in use, and say so.
Does not: judge clients' certificates (gRPC does, against client_ca).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sealpress.errors import CannotStart
from sealpress.ports import Clock
from sealpress.reading import read_whole
from sealpress.telemetry import Telemetry

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Where the PEM files are."""

    cert: Path
    key: Path
    client_ca: Path | None  # none: token listeners only


@dataclass(frozen=True, slots=True)
class _Loaded:
    contents: tuple[bytes, bytes, bytes]  # key, certificate, CA of clients
    not_before: int
    not_after: int


class TlsFiles:
    """The files as last read. `credentials` is for a listener; the fetcher runs on gRPC's threads."""

    def __init__(self, paths: TlsPaths, reload_s: int, clock: Clock, telemetry: Telemetry) -> None:
        """Read them; CannotStart TLS_FILES if they do not fit together."""
        self._paths = paths
        self._reload_ns = reload_s * NANOSECONDS
        self._clock = clock
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._loaded = self._read()
        self._stamps = self._stamp()
        self._looked_ns = clock.monotonic_ns()
        telemetry.tls_loaded(self._loaded.not_after)
        try:
            self._valid(self._loaded)
        except CannotStart as error:  # there is no other: who renews it needs no restart
            telemetry.tls_unusable(str(error))

    @property
    def not_after(self) -> int:
        """End of the certificate in use, Unix seconds."""
        return self._loaded.not_after

    def credentials(self, *, client_certificates: bool = True) -> grpc.ServerCredentials:
        """For one listener: clients must present a certificate, or are not asked for one."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(self._loaded, client_certificates),
            self._fetcher(client_certificates),
            require_client_authentication=client_certificates,
        )

    def reload(self) -> None:
        """Look at the files now (SIGHUP)."""
        with self._lock:
            self._looked_ns = self._clock.monotonic_ns()
            self._refresh()

    def _fetcher(self, client_certificates: bool) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """Per listener: gRPC wants to know only of changes since the last time that it asked here."""
        given = [self._loaded]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            self._telemetry.handshake_started()
            with self._lock:
                now_ns = self._clock.monotonic_ns()
                if now_ns - self._looked_ns >= self._reload_ns:
                    self._looked_ns = now_ns
                    self._refresh()
                if given[0] is self._loaded:
                    return None
                given[0] = self._loaded
                return self._configuration(self._loaded, client_certificates)

        return fetch

    def _refresh(self) -> None:
        try:
            stamps = self._stamp()
            if stamps == self._stamps:
                return
            self._loaded = self._valid(self._read())
            self._stamps = stamps
            self._telemetry.tls_loaded(self._loaded.not_after)
        except (CannotStart, OSError) as error:
            self._telemetry.tls_unusable(str(error))

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        paths = (self._paths.cert, self._paths.key, self._paths.client_ca)
        stats = (path.stat() for path in paths if path is not None)
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _read(self) -> _Loaded:
        try:
            contents = (
                read_whole(self._paths.key),
                read_whole(self._paths.cert),
                read_whole(self._paths.client_ca) if self._paths.client_ca is not None else b"",
            )
        except OSError as error:
            raise CannotStart(
                f"[tls] {error.filename}: {error.strerror}", reason="TLS_FILES", hint="cert, key and client_ca are PEM"
            ) from error
        try:
            leaf = x509.load_pem_x509_certificates(contents[1])[0]
            if self._paths.client_ca is not None:
                x509.load_pem_x509_certificates(contents[2])
            public, certified = load_pem_private_key(contents[0], None).public_key(), leaf.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CannotStart(f"[tls] {error}", reason="TLS_FILES", hint="cert, key and client_ca are PEM") from error
        encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if public.public_bytes(*encoding) != certified.public_bytes(*encoding):
            raise CannotStart("[tls] the key does not belong to the certificate", reason="TLS_FILES")
        dates = (int(date.timestamp()) for date in (leaf.not_valid_before_utc, leaf.not_valid_after_utc))
        return _Loaded(contents, *dates)

    def _valid(self, found: _Loaded) -> _Loaded:
        """What no client takes is not used instead of what all take now."""
        now = self._clock.now_ns() // NANOSECONDS
        if not found.not_before <= now <= found.not_after:
            raise CannotStart("[tls] the certificate is expired, or not valid yet", reason="TLS_FILES")
        return found

    @staticmethod
    def _configuration(loaded: _Loaded, client_certificates: bool) -> grpc.ServerCertificateConfiguration:
        key, cert, client_ca = loaded.contents
        roots = client_ca if client_certificates else None
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=roots)
