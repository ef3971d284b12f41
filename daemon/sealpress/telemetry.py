"""What the daemon tells about itself: one function per event, each a metric, a JSON log line on stderr, or both.

Requests are counted, not logged: a line is written for what an operator may have to act on.

Guarantees: a log line is one JSON object of ASCII characters, so no caller's string can break it or colour a terminal;
metric labels take configured names and fixed reasons only, never a caller's string. Does not: raise, block for longer
than a write to stderr, or know a secret.
"""

from __future__ import annotations

import json
import sys
import traceback
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, Protocol, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.utils import floatToGoString

from sealpress.ports import Clock

NANOSECONDS = 1_000_000_000
TEXT_MAX = 2_048
SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8, 16)
SLOT_STATES = ("closed", "half_open", "open", "quarantined")
_shown: Callable[[float], str] = floatToGoString
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024, 4_096, 16_384, 65_536, 262_144)


class _Numbers:
    """A counter or gauge by one label, of one thread: to count is to add to a number, where the library's takes locks.

    `of`: the numbers by label.
    """

    def __init__(self, kind: Literal["counter", "gauge"], name: str, text: str, label: str) -> None:
        self._name = f"{name}_total" if kind == "counter" else name
        self._head, self._label = _head(self._name, kind, text), label
        self.of: defaultdict[str, float] = defaultdict(float)

    def written(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield self._head
        for label, number in self.of.items():
            yield f'{self._name}{{{self._label}="{_escaped(label)}"}} {_shown(number)}\n'


class _Histogram:
    """A histogram by one label, of one thread: to observe is to add to two numbers, where the library's takes locks.

    What is written of a label is kept until something is observed: of two thousand lines few were used since the last
    time, and all their buckets would keep the loop for a third of a second.
    """

    def __init__(self, name: str, text: str, label: str, bounds: Sequence[float]) -> None:
        self._name, self._label, self._bounds = name, label, tuple(bounds)
        self._head = _head(name, "histogram", text)
        self._counts: dict[str, list[int]] = {}  # by label: how many fell between two bounds, and beyond the last
        self._sums: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._names = [*map(_shown, self._bounds), "+Inf"]

    def observe(self, label: str, value: float) -> None:
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(self._bounds) + 1)
            self._sums[label] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[label] += value
        self._texts.pop(label, None)

    def written(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield self._head
        for label in self._counts:
            text = self._texts.get(label)
            if text is None:
                text = self._texts[label] = self._write(label)
            yield text

    def _write(self, label: str) -> str:
        by, totals = f'{self._label}="{_escaped(label)}"', list(accumulate(self._counts[label]))
        buckets = [
            f'{self._name}_bucket{{le="{name}",{by}}} {total}.0\n'
            for name, total in zip(self._names, totals, strict=True)
        ]
        count, sum_ = f"{self._name}_count{{{by}}} {totals[-1]}.0\n", _shown(self._sums[label])
        return "".join([*buckets, count, f"{self._name}_sum{{{by}}} {sum_}\n"])


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class _Begun(Protocol):
    """Something that was begun at a monotonic time."""

    started_ns: int


class SlotSeen(Protocol):
    """A slot as the signer tells of it (hsm.link.SlotStatus)."""

    @property
    def up(self) -> bool:
        """Whether it can sign."""
        ...

    @property
    def state(self) -> str:
        """Of its breaker: closed, open, half_open or quarantined."""
        ...

    @property
    def reason(self) -> str:
        """Why it is not as it should be."""
        ...

    @property
    def sessions(self) -> int:
        """How many may be used."""
        ...

    @property
    def limit(self) -> int:
        """How many of them work at a time, as the token bears."""
        ...

    @property
    def restarts(self) -> int:
        """Workers after the first."""
        ...

    @property
    def opened(self) -> int:
        """How often its breaker opened."""
        ...

    @property
    def strangers(self) -> int:
        """Keys on its token that may sign and that nobody configured."""
        ...

    @property
    def differing(self) -> int:
        """Keys of which its token counts other operations than the signer does."""
        ...

    @property
    def unmanaged(self) -> Sequence[str] | None:
        """The strangers by name; None while nobody has looked at the token."""
        ...

    @property
    def counts(self) -> Mapping[str, str] | None:
        """Of the differing keys: what the token says; None while nobody has looked at it."""
        ...


class Telemetry:
    """Metrics and log lines of one process."""

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        """Log lines go to `stream`, by default stderr."""
        self._clock = clock
        self._stream = stream if stream is not None else sys.stderr
        self._signer_told: tuple[bool, dict[str, bool]] | None = None
        self._opening_ns = 0  # when a start last told how far it is
        self.registry = CollectorRegistry()
        r = self.registry
        self._requests = _Numbers("counter", "sealpress_requests", "Requests that were signed", "line")
        self._leaves = _Numbers("counter", "sealpress_leaves", "Leaves made durable", "log")
        self._refusals = Counter("sealpress_refusals", "Requests without right; recorded", ["reason"], registry=r)
        self._errors = Counter("sealpress_errors", "Calls answered with an error", ["reason"], registry=r)
        self._lapsed = Counter("sealpress_lapsed", "Requests never signed in time", ["line"], registry=r)
        self._seal_failures = Counter(
            "sealpress_seal_failures", "Calls to the signer that failed", ["line", "reason"], registry=r
        )
        self._seconds = _Histogram(
            "sealpress_request_seconds", "From admission to the answer, the slowest of each head", "line", SECONDS
        )
        self._token = _Histogram("sealpress_token_seconds", "Token operation", "line", SECONDS)
        self._sync = _Histogram("sealpress_sync_seconds", "fdatasync of a batch", "log", SECONDS)
        self._batch = _Histogram("sealpress_batch_requests", "Requests in a commit", "log", COUNTS)
        self._size = _Numbers("gauge", "sealpress_tree_size", "Committed leaves", "log")
        self._sealed = Gauge("sealpress_sealed_size", "Newest signed head", ["log"], registry=r)
        self._share = Gauge("sealpress_log_space_ratio", "Used part of the log's space", ["log"], registry=r)
        self._left = Gauge("sealpress_log_space_left_bytes", "What requests may still write", ["log"], registry=r)
        self._queue = Gauge("sealpress_queue_requests", "Requests waiting for a commit", ["log"], registry=r)
        self._signer = Gauge("sealpress_signer_up", "1 while the signer is connected", registry=r)
        self._ready = _Numbers("gauge", "sealpress_key_ready", "1 while the key can sign", "line")
        self._slot_up = Gauge("sealpress_slot_up", "1 while the slot can sign", ["slot"], registry=r)
        self._slot_state = Gauge("sealpress_slot_state", "1 at the breaker's state", ["slot", "state"], registry=r)
        self._slot_sessions = Gauge("sealpress_slot_sessions", "Sessions that sign", ["slot"], registry=r)
        self._slot_limit = Gauge("sealpress_slot_sessions_limit", "Of them, at a time", ["slot"], registry=r)
        self._slot_restarts = Gauge("sealpress_slot_restarts", "Workers replaced", ["slot"], registry=r)
        self._slot_opened = Gauge("sealpress_slot_opened", "Times that the breaker opened", ["slot"], registry=r)
        self._slot_strangers = Gauge(
            "sealpress_slot_unmanaged_keys", "Keys that may sign and that nobody configured", ["slot"], registry=r
        )
        self._slot_differing = Gauge(
            "sealpress_slot_differing_keys", "Keys whose operations the token counts otherwise", ["slot"], registry=r
        )
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
        self._internal = Counter("sealpress_internal_errors", "Our bugs that a caller met", ["method"], registry=r)

    def exposition(self) -> bytes:
        """The metrics as Prometheus reads them."""
        ours = (
            self._requests,
            self._leaves,
            self._size,
            self._ready,
            self._seconds,
            self._token,
            self._sync,
            self._batch,
        )
        return bytes(generate_latest(self.registry)) + "".join(text for one in ours for text in one.written()).encode()

    # ---- requests ----

    def refused(self, reason: str) -> None:
        """Somebody may not; the record is in the log."""
        self._refusals.labels(reason).inc()

    def errored(self, reason: str) -> None:
        """A call was answered with an error; a malformed one leaves no other trace than this."""
        self._errors.labels(reason).inc()

    def committed(self, log: str, requests: int, leaves: int, sync_ns: int, size: int) -> None:
        """A batch is durable."""
        self._leaves.of[log] += leaves
        self._size.of[log] = size
        self._sync.observe(log, sync_ns / NANOSECONDS)
        if requests:
            self._batch.observe(log, requests)

    def settled(self, line: str, tickets: Sequence[_Begun], latency_us: int) -> None:
        """A head or a direct request is signed, and these have their answers."""
        if not tickets:
            return
        self._requests.of[line] += len(tickets)
        waited_ns = self._clock.monotonic_ns() - min([ticket.started_ns for ticket in tickets])
        self._seconds.observe(line, waited_ns / NANOSECONDS)
        self._token.observe(line, latency_us / 1_000_000)

    def lapsed(self, line: str, requests: int) -> None:
        """Leaves grew too old to be signed."""
        self._lapsed.labels(line).inc(requests)
        self._log("warning", "lapsed", line=line, requests=requests)

    def internal(self, method: str, error: BaseException) -> None:
        """A bug of ours; the caller was told INTERNAL and nothing else."""
        self._internal.labels(method).inc()
        text = "".join(traceback.format_exception(error))
        self._log("error", "internal", method=method, error=repr(error), trace=text)

    # ---- parts ----

    def seal_failed(self, line: str, reason: str, message: str) -> None:
        """The signer did not sign a head or a part; it is tried again while the leaves are young."""
        self._seal_failures.labels(line, reason).inc()
        self._log("warning", "seal_failed", line=line, reason=reason, message=message)

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

    def signer(self, up: bool, ready: dict[str, bool]) -> None:
        """The signer came or went, or keys became ready or not; `ready` is by line."""
        self._signer.set(up)
        self._ready.of.update(ready)
        if (up, ready) != self._signer_told:  # much else of slots is told as often
            self._signer_told = up, ready
            self._log("info" if up else "warning", "signer", up=up, ready=sum(ready.values()), keys=len(ready))

    def gauges(self, log: str, queue: int, sealed: int) -> None:
        """Read when metrics are asked for."""
        self._queue.labels(log).set(queue)
        self._sealed.labels(log).set(sealed)

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
        """Changed TLS files are wrong: the old ones stay in use."""
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

    def slots(self, slots: Mapping[str, SlotSeen]) -> None:
        """What the signer said of its slots; it tells of each change. The signer itself writes the lines about them."""
        for name, slot in slots.items():
            self._slot_up.labels(name).set(slot.up)
            self._slot_sessions.labels(name).set(slot.sessions)
            self._slot_limit.labels(name).set(slot.limit)
            self._slot_restarts.labels(name).set(slot.restarts)
            self._slot_opened.labels(name).set(slot.opened)
            self._slot_strangers.labels(name).set(slot.strangers)
            self._slot_differing.labels(name).set(slot.differing)
            for state in SLOT_STATES:
                self._slot_state.labels(name, state).set(state == slot.state)

    def slot_up(self, slot: str, sessions: int, restarts: int) -> None:
        """A new worker has taken over; `restarts`: how many came before it."""
        self._log("info", "slot_up", slot=slot, sessions=sessions, restarts=restarts)

    def slot_lost(self, slot: str, reason: str) -> None:
        """A worker ended, or let a call wait too long: the next one is on its way."""
        self._log("warning", "slot_lost", slot=slot, reason=reason)

    def slot_failed(self, slot: str, reason: str, message: str, hint: str) -> None:
        """A worker found no token, no key, or no way in."""
        self._log("error", "slot_failed", slot=slot, reason=reason, message=message, hint=hint)

    def slot_turned(self, slot: str, state: str, reason: str) -> None:
        """The slot's breaker; `reason`: what opened it."""
        level = {"closed": "info", "half_open": "info", "open": "warning"}.get(state, "critical")
        self._log(level, "slot_turned", slot=slot, state=state, reason=reason)

    def slot_lied(self, slot: str, key: str, reason: str) -> None:
        """A signature is wrong or gives its key away: it is not released."""
        self._log("critical", "slot_lied", slot=slot, key=key, reason=reason)

    def guard_told(self, key: str, *, lifted: bool, reason: str) -> None:
        """The signer was told that a key is stopped, or may sign again; `reason`: why it did not do it."""
        self._log("warning" if reason else "info", "guard_told", key=key, lifted=lifted, reason=reason)

    def key_unusable(self, key: str, message: str) -> None:
        """A key of the configuration is not the one that governance knows: nothing is signed with it."""
        self._log("error", "key_unusable", key=key, message=message)

    def governed(self, profile: str, seq: int, facts: int, *, from_file: bool) -> None:
        """The governance log is folded; `facts` were read one by one."""
        self._log("info", "governed", profile=profile, seq=seq, facts=facts, from_file=from_file)

    def anchors_adopted(self, version: int) -> None:
        """A TrustAnchors document is in force."""
        self._log("info", "anchors_adopted", version=version)

    def anchors_refused(self, message: str) -> None:
        """A changed TrustAnchors document is wrong: the old one stays in force."""
        self._log("error", "anchors_refused", message=message)

    def tick_failed(self, reason: str, message: str) -> None:
        """What was due by time, or a snapshot of governance, could not be written; it is tried again."""
        self._log("error", "tick_failed", reason=reason, message=message)

    def policy_adopted(self, sha256: str, governance_seq: int, lines: int) -> None:
        """A policy is in force."""
        self._log("info", "policy_adopted", sha256=sha256, governance_seq=governance_seq, lines=lines)

    def policy_refused(self, message: str) -> None:
        """A changed policy is wrong: the old one stays in force."""
        self._log("error", "policy_refused", message=message)

    def webhook_failed(self, change_id: str, message: str) -> None:
        """Nobody outside was told that this change waits."""
        self._log("warning", "webhook_failed", change_id=change_id, message=message)

    # ---- keys on tokens, at the signer ----

    def key_judged(self, slot: str, key: str, wrong: str, hint: str) -> None:
        """What a token says of a key has changed: it is not used there, or (nothing is wrong) is used again."""
        if wrong:
            self._log("error", "key_not_used", slot=slot, key=key, reason="KEY_ATTRIBUTES", message=wrong, hint=hint)
        else:
            self._log("info", "key_used_again", slot=slot, key=key)

    def keys_unmanaged(self, slot: str, count: int, keys: Sequence[str]) -> None:
        """Keys that may sign and that nobody configured: others than before, or none any more; `keys`: the first."""
        self._log("critical" if count else "info", "key.unmanaged", slot=slot, count=count, keys=list(keys))

    def operations_restarted(self, keys: int) -> None:
        """The signer was killed: what it did last was not counted, and tokens are compared from here on."""
        self._log("warning", "operations_restarted", keys=keys)

    def operations_not_kept(self, message: str, hint: str) -> None:
        """The counts could not be written; tried again in a minute."""
        self._log("error", "operations_not_kept", message=message, hint=hint)

    def operations_compared(self, slot: str, key: str, differs: str) -> None:
        """A token's count of a key's operations is not ours, or (nothing differs) is so again."""
        level = "critical" if differs else "info"
        self._log(level, "operations_differ" if differs else "operations_agree", slot=slot, key=key, message=differs)

    # ---- life ----

    def log_opened(self, log: str, size: int, dangling: int, repaired: bool, rebuilt: bool) -> None:
        """A log is open."""
        self._size.of[log] = size
        self._log("info", "log_opened", log=log, size=size, dangling=dangling, repaired=repaired, rebuilt=rebuilt)

    def log_opening(self, log: str, done: int, segments: int) -> None:
        """A start replays segments; told once a second at most, and only where it is more than one."""
        now_ns = self._clock.monotonic_ns()
        if segments > 1 and (done == 0 or now_ns - self._opening_ns >= NANOSECONDS):
            self._opening_ns = now_ns
            self._log("info", "log_opening", log=log, segments_done=done, segments=segments)

    def log_storage(self, log: str, *, pwrite: bool, memory_only: bool) -> None:
        """The log's file system is not one of the best."""
        if pwrite:
            self._log("info", "log_pwrite", log=log, message="on no ext4 or xfs a full disk may end it")
        if memory_only:
            message = "the file system is in memory: nothing of this log outlives the machine"
            self._log("warning", "log_not_durable", log=log, message=message)

    def clock_stepped_back(self, log: str, back_ns: int) -> None:
        """The clock stands behind the log's last time."""
        self._log("warning", "clock_stepped_back", log=log, back_ns=back_ns)

    def log_failed(self, log: str, message: str) -> None:
        """A sync failed: this process signs nothing any more and exits with 3."""
        self._log("critical", "log_failed", log=log, message=message)

    def disk_full(self, log: str, message: str) -> None:
        """Nothing can be written until there is room."""
        self._log("error", "disk_full", log=log, message=message)

    def space(self, log: str, share: float, left: float) -> None:
        """How full a log is; once a second."""
        self._share.labels(log).set(share)
        self._left.labels(log).set(left)

    def space_turned(self, log: str, state: str, share: float, left: float) -> None:
        """`alert`: it fills up. `full`: requests are refused. `room`: all is well again."""
        level = {"room": "info", "alert": "warning"}.get(state, "error")
        self._log(level, "log_space", log=log, state=state, used_percent=round(100 * share), left_bytes=int(left))

    def serving(self, addresses: dict[str, str]) -> None:
        """Listening."""
        self._log("info", "serving", **addresses)

    def stopping(self, reason: str) -> None:
        """Draining."""
        self._log("info", "stopping", reason=reason)

    def stopped(self, code: int) -> None:
        """The last line."""
        self._log("info", "stopped", code=code)

    def _log(self, level: str, event: str, **fields: Any) -> None:
        seconds, rest = divmod(self._clock.now_ns(), NANOSECONDS)
        line: dict[str, Any] = {"ts": f"{seconds}.{rest // 1_000:06}", "level": level, "event": event}
        for name, value in fields.items():
            line[name] = value[:TEXT_MAX] if isinstance(value, str) and name != "trace" else value
        try:
            self._stream.write(json.dumps(line, ensure_ascii=True) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody reads our stderr: signing goes on
