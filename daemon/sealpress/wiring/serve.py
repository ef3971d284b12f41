"""Puts the daemon together: configuration in, logs, signer link, flow and listeners running, exit code out.

Order: read settings and policy → open the logs (lock, scan) → reach the signer → compare marks both ways → start the
logs → take up what was left over → record the policy if it differs → listen. Nothing is answered before all of it.

Guarantees: raises CannotStart (4), ConfigError (2, at start 4) or Damaged (3) with one message for people; a failed
sync ends the process with 3 (DESIGN L10); SIGTERM drains and ends with 0. Does not: load a PKCS#11 module, read a PIN
or start the signer.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from sealpress import loop as event_loop
from sealpress.clock import SystemClock
from sealpress.config import Config, load, resolve
from sealpress.core import memory, p11
from sealpress.core.reference import self_check
from sealpress.entropy import SystemEntropy
from sealpress.errors import Busy, CannotStart, ConfigError, Malformed, Refusal, SealpressError
from sealpress.flow import Flow
from sealpress.governance.policy import compile_policy
from sealpress.governance.snapshot import Snapshot
from sealpress.hsm.signers import Signers
from sealpress.hsm.status import SignerStatus, SlotStatus
from sealpress.reading import read_whole
from sealpress.rpc.interceptors import Callers
from sealpress.rpc.tokens import Tokens
from sealpress.rpc.webhook import Webhook
from sealpress.steps._head import Head
from sealpress.steps._office import Office
from sealpress.steps._shared import Shared
from sealpress.steps._slots import Slots
from sealpress.steps._ticket import LogState, Ticket
from sealpress.steps.batch import Queue
from sealpress.telemetry import Telemetry
from sealpress.tlog.log import Log
from sealpress.tlog.record import NANOSECONDS
from sealpress.wiring import consistency, governed, issuers, services, witnesses
from sealpress.wiring.keys import NodeKeys
from sealpress.wiring.listening import NodeListeners
from sealpress.wiring.logs import NodeLogs
from sealpress.wiring.publishing import Published

LINK_DEADLINE_MS_MIN = 5_000
LINK_DEADLINES = 4  # of a slot
# a stop waits for so long without a call, and for so many of that at most; who heard an answer far away calls again
QUIET_S, QUIETS_MAX = 0.25, 4
HEAPS = 2  # for all threads: as quick as one each, and half the memory of a node that makes large answers


def run_serve(config_path: Path, as_json: bool) -> int:
    """Run until SIGTERM or SIGINT: 0, or 3 if a log failed."""
    p11.harden_process()
    memory.share_heaps(HEAPS)
    self_check()
    config = load(config_path)
    return event_loop.run(Daemon(config, config_path, as_json).run())


class Daemon:
    """The objects of one run. `run` is the whole of its life."""

    def __init__(self, config: Config, path: Path, as_json: bool, disk: Any = None) -> None:
        """`path` is the configuration's; `disk` another table of disk functions than the machine's (core.journal)."""
        self._config = config
        self._path = path
        self._as_json = as_json
        self._clock = SystemClock()
        self._entropy = SystemEntropy()
        self._telemetry = Telemetry(self._clock)
        self._published = Published(config.checkpoint.interval_ms, self._telemetry)
        self._logs = NodeLogs(config, self._at, self._clock, self._entropy, self._telemetry, disk)
        self.name = config.node.name
        self.addresses: dict[str, str] = {}  # by service, once it listens
        # Longer than an operation may wait for its turn and then take: the guard's answer says more than none does.
        deadlines = [LINK_DEADLINES * slot.deadline_ms for slot in config.slot.values()]
        deadline_ms = max([LINK_DEADLINE_MS_MIN, *deadlines])
        self._keys = NodeKeys(config, self._at, self._telemetry)
        self._link = Signers(config, self._at, deadline_ms, self._signer_changed)
        self._closing = False
        self._flow: Flow | None = None
        self._slots: Slots | None = None
        self._listeners: NodeListeners | None = None
        self._tokens: Tokens | None = None
        self._office: Office | None = None
        self._webhook: Webhook | None = None
        self._witnesses: witnesses.NodeWitnesses | None = None

    def _at(self, value: str) -> Path:
        return resolve(self._path, value)

    # ---- life ----

    async def run(self) -> int:
        """Start, serve, stop."""
        ended = asyncio.Event()
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, ended.set)
        wanted = asyncio.Event()
        running.add_signal_handler(signal.SIGHUP, wanted.set)  # until there is something to reload
        try:
            snapshot = self._read_policy()
            consistency.check(self._config, snapshot)
            if self._config.witness is not None:
                self._witnesses = witnesses.NodeWitnesses(self._config, self._at, self._clock, self._telemetry)
            listeners = self._listeners = NodeListeners(self._config, self._at, self._clock, self._telemetry)
            self._tokens = await issuers.tokens(self._config, self._at, self._clock, self._telemetry)
            self._logs.open()
            flow = await self._start_flow(snapshot)
            if self._slots is not None:
                self._slots.begin()
            running.add_signal_handler(signal.SIGHUP, self._reload)
            if wanted.is_set():
                self._reload()
            addresses = self.addresses = await self._listen(flow, listeners)
            event_loop.settled()
            self._telemetry.serving(addresses)
            if self._as_json:
                sys.stdout.write(json.dumps({"ready": True, **addresses}) + "\n")
                sys.stdout.flush()
            return await self._serve(flow, listeners, ended)
        finally:
            await self._close()

    async def _serve(self, flow: Flow, listeners: NodeListeners, ended: asyncio.Event) -> int:
        assert flow.stopped is not None
        waiting = asyncio.create_task(ended.wait())
        publisher = asyncio.create_task(self._published.run(flow.shared.logs.values()), name="checkpoints")
        telling = asyncio.create_task(self._webhook.run(), name="webhook") if self._webhook is not None else None
        await asyncio.wait((waiting, flow.stopped), return_when=asyncio.FIRST_COMPLETED)
        publisher.cancel()
        if telling is not None:
            telling.cancel()
        waiting.cancel()
        if flow.stopped.done():
            self._telemetry.stopping("the log failed")
            await listeners.stop()  # callers hear LOG_UNAVAILABLE before the connection ends
            raise flow.stopped.result()
        self._telemetry.stopping("asked to")
        await listeners.drain()
        drained = await flow.drain(self._config.limits.drain_ms_max)
        await _told(flow)
        await listeners.stop()
        for log in flow.shared.logs.values():
            if log.witnessed and self._witnesses is not None:
                await self._witnesses.of_logs.show(log)
            await self._published.flush(log)
        self._telemetry.stopped(0)
        return 0 if drained else 1

    async def _close(self) -> None:
        self._closing = True
        if self._slots is not None:
            self._slots.close()
        if self._listeners is not None:
            await self._listeners.close()
        if self._tokens is not None:
            await issuers.close(self._tokens)
        if self._witnesses is not None:
            await self._witnesses.close()
        await self._link.close()
        self._logs.close()

    # ---- start ----

    def _read_policy(self) -> Snapshot:
        """Of an ungoverned node from the file; a governed one permits nothing before its log was folded."""
        if self._config.governance is not None:
            return governed.NOTHING
        path = self._at(self._config.node.policy)
        try:
            return Snapshot(compile_policy(read_whole(path), str(path)))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", hint="[node] policy names the policy file") from error

    async def _start_flow(self, snapshot: Snapshot) -> Flow:
        try:
            await self._link.connect()
            marks = (await self._link.status()).logs
        except Refusal as error:
            raise CannotStart(error.message, reason="SIGNER_UNREACHABLE", hint=error.hint) from error
        sizes = self._logs.compare(marks)
        self._keys.compare(self._link.cached)
        if self._witnesses is not None:
            await self._witnesses.compare(self._logs.by_id, self._link, marks)
        for log in self._logs.by_id.values():
            log.start(asyncio.get_running_loop())
        shared = self._shared(snapshot)
        section = self._config.governance
        if section is None:
            governed.check_ungoverned(shared.governance.log)
        else:
            shared.veto = governed.veto(section.veto)
            self._office = governed.office(shared, self._link, self._telemetry)
        known = self._link.cached
        self._slots = Slots(
            shared, known.slots if known is not None else {}, self._at(self._config.node.data) / "strangers.json"
        )
        flow = self._flow = Flow(shared, self._link, sizes)
        flow.start()
        await flow.show()
        if section is not None and self._office is not None:
            await governed.adopt_anchors(self._office, section, self._at, self._telemetry)
            return flow
        recorded = shared.governance.log.recovered
        if recorded.policy_sha256 == snapshot.sha256:
            shared.snapshot = snapshot.at(recorded.governance_seq)
        else:
            try:
                await flow.adopt(snapshot)
            except (Busy, Malformed) as error:
                raise CannotStart("the changed policy cannot be recorded: " + error.message,
                                  reason=error.reason, hint=error.hint) from error  # fmt: skip
        self._telemetry.policy_adopted(snapshot.sha256.hex(), shared.snapshot.governance_seq, len(snapshot.lines))
        return flow

    def _shared(self, snapshot: Snapshot) -> Shared:
        config = self._config
        states = {id_: self._log_state(id_, log) for id_, log in self._logs.by_id.items()}
        keys = self._keys.lines(states)
        governance = next(states[id_] for id_, section in config.log.items() if section.governance)
        return Shared(
            clock=self._clock,
            entropy=self._entropy,
            limits=config.limits,
            telemetry=self._telemetry,
            snapshot=snapshot,
            logs=states,
            governance=governance,
            lines={line.name: line for line in keys if line.section.state == "active"},
            keys=keys,
            ready=self._link.ready,
            why=self._link.why,
            leaf_age_s_max=config.signer.leaf_age_s_max,
            outcome_delay_ms=config.journal.outcome_delay_ms,
            release_outcome=config.journal.release == "outcome",
            leaves_per_advance_max=config.signer.leaves_per_advance_max,
            witnesses=self._witnesses.of_logs if self._witnesses is not None else None,
            witness_interval_ms=config.witness.interval_ms if config.witness is not None else 0,
            hold_ms_max=1_000 * config.witness.hold_s_max if config.witness is not None else 0,
            slot_deadline_ms=max([slot.deadline_ms for slot in config.slot.values()], default=10_000),
        )

    def _log_state(self, id_: str, log: Log) -> LogState:
        queue: Queue[Ticket] = Queue(self._config.limits)
        vkey = self._keys.log_vkey(id_)
        head = Head(log.size, log.root(), self._clock.now_ns() // NANOSECONDS)
        state = LogState(id_, log, log.recovered.known, queue, head, vkey)
        state.witnessed = self._witnesses is not None and self._witnesses.of_logs.policy.covers(log.origin)
        self._published.take_up(state)
        return state

    # ---- listeners ----

    async def _listen(self, flow: Flow, listeners: NodeListeners) -> dict[str, str]:
        callers = Callers(self._clock, self._telemetry, self._tokens)
        made = services.make(self._config, flow, callers, self._telemetry, self, self._office)
        if self._office is not None and self._config.governance is not None:
            if self._tokens is not None:
                services.registered(self._tokens, self._office)
            if self._config.governance.webhook:
                self._webhook = Webhook(self._config.governance.webhook, flow, self._office, self._telemetry)
        return await listeners.open(flow, callers, made, self._tokens)

    # ---- while running ----

    @property
    def tree_size(self) -> int:
        """Committed leaves of all logs."""
        return sum(log.size for log in self._logs.by_id.values())

    async def slots(self) -> dict[str, SlotStatus] | None:
        """For GetStatus: asked now, since what the signer pushes are changes, not counts."""
        try:
            return (await self._link.status()).slots
        except Refusal:
            return None

    def certificate_not_after(self) -> int:
        """For GetStatus."""
        return self._listeners.certificate_not_after if self._listeners is not None else 0

    def _signer_changed(self, status: SignerStatus) -> None:
        if self._closing:
            return  # we hang up, the signer is not lost
        ready = {section.line: self._link.ready(id_) for id_, section in self._config.key.items()}
        self._telemetry.signer(self._link.connected, ready)
        if self._slots is not None:
            self._slots.heard(status.slots)
        if self._flow is not None:
            self._flow.signer_changed()

    def _reload(self) -> None:
        """SIGHUP: TLS files and policy; what is wrong is told and the old one stays."""
        if self._listeners is not None:
            self._listeners.reload()
        if self._office is not None and self._config.governance is not None:
            work = governed.reload_anchors(self._office, self._config.governance, self._at, self._telemetry)
            self._adopting = asyncio.get_running_loop().create_task(work)
            return
        try:
            snapshot = self._read_policy()
            consistency.check(self._config, snapshot)
        except ConfigError as error:
            self._telemetry.policy_refused(error.message)
            return
        assert self._flow is not None
        if snapshot.sha256 != self._flow.shared.snapshot.sha256:
            task = asyncio.get_running_loop().create_task(self._adopt(self._flow, snapshot))
            self._adopting = task

    async def _adopt(self, flow: Flow, snapshot: Snapshot) -> None:
        try:
            adopted = await flow.adopt(snapshot)
            self._telemetry.policy_adopted(snapshot.sha256.hex(), adopted.governance_seq, len(snapshot.lines))
        except SealpressError as error:
            self._telemetry.policy_refused(error.message)


async def _told(flow: Flow) -> None:
    """Until those who call have heard that we stop: a call that gRPC's own stop ends is CANCELLED, as by its caller."""
    for _ in range(QUIETS_MAX):
        before = flow.shared.turned_away
        await asyncio.sleep(QUIET_S)
        if flow.shared.turned_away == before:
            return
