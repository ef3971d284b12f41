"""The listeners of a node: its certificate, and an address for each [[listen]] with the services that it offers.

Guarantees: [tls] is read before anything is bound; a listener for tokens asks for no certificate, and has a gate before
all that it offers. Does not: make services (services.py), read tokens (rpc/tokens.py), or judge addresses
(consistency.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealpress.config import Config
from sealpress.errors import ConfigError
from sealpress.flow import Flow
from sealpress.ports import Clock
from sealpress.rpc.http import HttpListener
from sealpress.rpc.interceptors import Callers, Gate
from sealpress.rpc.server import Listener, Services
from sealpress.rpc.tls import TlsFiles, TlsPaths
from sealpress.rpc.tokens import Tokens
from sealpress.telemetry import Telemetry


class NodeListeners:
    """Those of [[listen]]."""

    def __init__(self, config: Config, path_of: Callable[[str], Path], clock: Clock, telemetry: Telemetry) -> None:
        """ConfigError or CannotStart TLS_FILES for a [tls] with which nobody can listen."""
        self._config = config
        self._telemetry = telemetry
        self._tls = _tls_files(config, path_of, clock, telemetry)
        self._grpc: list[Listener] = []
        self._http: list[HttpListener] = []

    async def open(self, flow: Flow, callers: Callers, made: Services, tokens: Tokens | None) -> dict[str, str]:
        """Bind all, then serve on all: where each service is."""
        addresses: dict[str, str] = {}
        for listen in self._config.listen:
            host, _, port = listen.address.rpartition(":")
            if listen.services == ("http",):
                http = HttpListener(flow, self._telemetry)
                self._http.append(http)
                addresses["http"] = f"{host}:{await http.start(host, int(port))}"
                continue
            assert self._tls is not None
            gate = None
            if listen.auth == "token":
                assert tokens is not None
                gate = Gate(callers, tokens, self._telemetry)
            credentials = self._tls.credentials(client_certificates=gate is None)
            listener = Listener(listen.address, listen.services, credentials, self._config.limits, made, gate)
            self._grpc.append(listener)
            suffix = "" if gate is None else "_token"
            addresses |= {f"{service}{suffix}": listener.address for service in listen.services}
        for listener in self._grpc:
            await listener.start()
        return addresses

    @property
    def certificate_not_after(self) -> int:
        """End of the certificate in use, Unix seconds; 0: there is none."""
        return self._tls.not_after if self._tls is not None else 0

    def reload(self) -> None:
        """Look at the files of [tls] now."""
        if self._tls is not None:
            self._tls.reload()

    async def drain(self) -> None:
        """Nobody shall come any more; calls under way go on."""
        for listener in self._grpc:
            await listener.drain()

    async def stop(self) -> None:
        """End what is left; what answers http goes on."""
        for listener in self._grpc:
            await listener.stop()

    async def close(self) -> None:
        """The rest."""
        for http in self._http:
            await http.close()


def _tls_files(config: Config, path_of: Callable[[str], Path], clock: Clock, telemetry: Telemetry) -> TlsFiles | None:
    tls = config.tls
    if tls is None:
        if any(listen.auth != "none" for listen in config.listen):
            raise ConfigError("[[listen]] with TLS needs [tls]", hint="give cert, key and client_ca")
        return None
    client_ca = path_of(tls.client_ca) if tls.client_ca else None
    if client_ca is None and any(listen.auth == "mtls" for listen in config.listen):
        raise ConfigError('[[listen]] with auth = "mtls" needs [tls] client_ca', hint="the CA of the clients, PEM")
    paths = TlsPaths(path_of(tls.cert), path_of(tls.key), client_ca)
    return TlsFiles(paths, tls.reload_s, clock, telemetry)
