"""Events where the daemon meets others: TLS, token issuers, witnesses, webhooks."""

from __future__ import annotations

from typing import TextIO

from prometheus_client import Counter, Gauge

from sealpress.ports import Clock
from sealpress.telemetry.reporter import Reporter


class Edge(Reporter):
    """Who connects to us, and whom we ask or tell."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        """As of Reporter."""
        super().__init__(clock, stream)
        r = self.registry
        self._handshakes = Counter("sealpress_tls_handshakes_started", "TLS handshakes begun", registry=r)
        self._connections = Counter("sealpress_tls_connections", "Addresses whose connection had a call", registry=r)
        self._certificate = Gauge("sealpress_certificate_not_after", "End of our certificate, Unix seconds", registry=r)
        self._issuers = Gauge("sealpress_issuer_keys", "Keys of a token issuer; 0: none yet", ["issuer"], registry=r)
        self._issuer_up = Gauge("sealpress_issuer_up", "1 while its keys can be read", ["issuer"], registry=r)
        self._witnessed = Gauge(
            "sealpress_witnessed_size", "Newest head that witnesses were shown", ["log"], registry=r
        )
        self._cosigners = Gauge("sealpress_cosigners", "Witnesses that cosigned that head", ["log"], registry=r)
        self._witness_answers = Counter(
            "sealpress_witness_answers", "What a witness answered", ["log", "witness", "answer"], registry=r
        )

    def handshake_started(self) -> None:
        """A TLS handshake begins; called from gRPC's threads."""
        self._handshakes.inc()

    def connection_seen(self) -> None:
        """The first call from an address and port; further handshakes were refused, never used, or from one again."""
        self._connections.inc()

    def tls_loaded(self, not_after: int) -> None:
        """TLS files were read."""
        self._certificate.set(not_after)
        self._log("info", "tls_loaded", not_after=not_after)

    def tls_unusable(self, message: str) -> None:
        """Changed TLS files are wrong, and the old ones stay in use; or, at start, it is out of its dates."""
        self._log("error", "tls_unusable", message=message)

    def issuer_keys(self, issuer: str, keys: int) -> None:
        """An issuer's key set was read, and is a new one; `issuer` is its configured id."""
        self._issuers.labels(issuer).set(keys)
        self._issuer_up.labels(issuer).set(1)
        self._log("info", "issuer_keys", issuer=issuer, keys=keys)

    def issuer_down(self, issuer: str, message: str) -> None:
        """An issuer's key set cannot be read, or not used: the old one stays for its time."""
        self._issuer_up.labels(issuer).set(0)
        self._log("warning", "issuer_down", issuer=issuer, message=message)

    def issuer_back(self, issuer: str) -> None:
        """It can be read again."""
        self._issuer_up.labels(issuer).set(1)
        self._log("info", "issuer_back", issuer=issuer)

    def witnessed(self, log: str, size: int, cosigners: int) -> None:
        """A round of witnesses is over, or one of them came late."""
        self._witnessed.labels(log).set(size)
        self._cosigners.labels(log).set(cosigners)

    def witness_answered(self, log: str, witness: str, answer: str) -> None:
        """COSIGNED, or the reason why not; `witness`: its name in our policy."""
        self._witness_answers.labels(log, witness, answer).inc()

    def witness_changed(self, log: str, witness: str, reason: str, message: str) -> None:
        """A witness cosigns no more, or (no reason) does so again."""
        self._log("warning" if reason else "info", "witness", log=log, witness=witness, reason=reason, message=message)

    def webhook_failed(self, change_id: str, message: str) -> None:
        """Nobody outside was told that this change waits."""
        self._log("warning", "webhook_failed", change_id=change_id, message=message)
