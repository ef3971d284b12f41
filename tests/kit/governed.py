"""A governed node at the level of its flow: the real logs, office and flow, with software keys in a signer of our own.

    async with Governed(tmp_path, lines={LOW: KeyClass.LOW}) as node:
        await node.begin()
        await node.sign(ask(LOW, digest))

Every fact is appended by the office itself, so that what a test finds in the log is what a daemon would have written.
Nothing here knows gRPC or PKCS#11.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.acme import CI, DEPLOYMENT, GOVERNANCE_LOG, LOW, OLGA, OLGA_NAME, ask, caller, digest, issuer, policy_text
from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from kit.soft_signer import SoftSigner, spki
from kit.softkeys import SoftKey
from sealpress.config import KeySection, Limits
from sealpress.core import leaf
from sealpress.errors import Refusal
from sealpress.flow import Flow
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.policy import compile_policy
from sealpress.governance.snapshot import Snapshot
from sealpress.steps import _archive
from sealpress.steps._head import Head
from sealpress.steps._office import NO_POLICY, Office
from sealpress.steps._request import Caller, Settled
from sealpress.steps._shared import Shared
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.steps.batch import Queue
from sealpress.telemetry import Telemetry
from sealpress.tlog.entry import OutcomeStatus
from sealpress.tlog.log import Log
from sealpress.tlog.record import NANOSECONDS, Record
from sealpress.tlog.settings import LogSettings
from sealpress.values import Format, KeyClass, Mode, RecordType, SignAsk
from sealpress.verify import note
from sealpress.verify.anchors import NAMESPACE, AnchorKey, Officer, TrustAnchors
from sealpress.verify.change import encode

YEAR_S = 365 * 86_400
HOUR_S = 3_600


async def until(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Until it is so."""
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 - the test knows nobody who would set an event
            await asyncio.sleep(0.001)


@dataclass
class Governed:
    """One node in one directory. Another one on the same directory, later, is its next start."""

    directory: Path
    lines: dict[str, KeyClass] = field(default_factory=lambda: {LOW: KeyClass.LOW})
    rules: str = ""  # added to the policy
    successors: dict[str, str] = field(default_factory=dict)  # id of a second key → its line
    own_log: bool = False  # the lines live in a log beside the governance log
    governed: bool = True
    direct: bool = False  # the lines' keys sign each leaf
    profile: str = "baseline"
    segment_bytes: int = 1 << 20
    limits: Limits = field(default_factory=Limits)
    clock: Any = field(default_factory=VirtualClock)
    ticking: bool = False  # the office ticks by itself
    officers: tuple[SoftKey, SoftKey] = field(default_factory=lambda: (SoftKey.make(), SoftKey.make()))
    secrets: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    disk: Any = None
    signer_stopped: set[str] = field(default_factory=set)

    flow: Flow = field(init=False)
    office: Office = field(init=False)
    shared: Shared = field(init=False)
    signer: SoftSigner = field(init=False)
    logs: dict[str, Log] = field(init=False)

    # ---- life ----

    async def __aenter__(self) -> Self:
        """Open what the directory holds."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Drain and close."""
        await self.close()

    async def open(self) -> None:
        """Start: logs, fold, office, flow."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.entropy = SeededEntropy(len(list(self.directory.iterdir())) + 1)
        self.signer = SoftSigner(self.clock)
        self.signer.stopped |= self.signer_stopped
        self.logs = {}
        for id_ in ("gov", "ci") if self.own_log else ("gov",):
            settings = LogSettings(
                self.directory / id_, "sign.example/lines" if id_ == "ci" else GOVERNANCE_LOG, 1, self.segment_bytes,
                "pwrite", governance=id_ == "gov",
            )  # fmt: skip
            log = self.logs[id_] = Log.open(settings, self.clock, self.entropy, disk=self.disk)
            log.start(asyncio.get_running_loop())
            self.signer.logs[log.origin] = self._secret(f"log {id_}")
            self.signer.known(log.origin, log.tree)
        self.shared = self._shared()
        if self.governed:
            path = self.logs["gov"].settings.directory / "index" / "governance.snapshot"
            self.folded = _archive.fold(self.logs["gov"], self.logs.values(), path)
            self.office = Office(self.shared, self.folded, self.signer, path)
        self.flow = Flow(self.shared, self.signer, {id_: log.size for id_, log in self.logs.items()})
        office, self.shared.office = self.shared.office, self.shared.office if self.ticking else None
        self.flow.start()
        self.shared.office = office

    async def close(self) -> None:
        """As a daemon ends."""
        self.signer.gate.set()
        await self.flow.drain(5_000)
        for log in self.logs.values():
            log.close()
        assert self.signer.broken == [], f"the flow broke the signer's contract: {self.signer.broken}"

    async def crash(self) -> None:
        """As kill -9 leaves it."""
        for task in self.flow._tasks:
            task.cancel()
        await asyncio.gather(*self.flow._tasks, return_exceptions=True)
        for log in self.logs.values():
            log.close()

    def again(self) -> Governed:
        """The next start on the same directory, with the same keys and people."""
        return replace(self, signer_stopped=self.signer.stopped)

    # ---- its beginning ----

    def document(self) -> TrustAnchors:
        """Version 1: Olga and Otto."""
        people = ((OLGA, OLGA_NAME, self.officers[0]), ("person:otto", "uri:spiffe://acme/otto", self.officers[1]))
        return TrustAnchors(
            version=1, deployment=DEPLOYMENT, profile=self.profile, log=GOVERNANCE_LOG,  # type: ignore[arg-type]
            officers=tuple(
                Officer(person=person, names=(name,), keys=(AnchorKey(public=k.line, application=k.application),))
                for person, name, k in people
            ),
            root_threshold=2, created=self.now - 1, expires=self.now + YEAR_S,
        )  # fmt: skip

    async def begin(self) -> None:
        """Anchors, policy, the CI's identity, the keys of all lines: as if everything had been approved."""
        raw = encode(self.document())
        armors = tuple(key.sign(raw, NAMESPACE) for key in self.officers)
        await self.write(f.AnchorsAdopted(document=raw.decode(), signatures=armors))
        text = policy_text(self.lines, self.rules)
        if self.direct:
            text = text.replace('"proof"', '"direct"').replace('"tlog-proof"', '"ecdsa-der"')
        await self.write(f.PolicyInForce(body=text))
        await self.write(self.enrolled("workload:ci", CI), issuer())
        for line in self.shared.keys:
            await self.write(*self.key_facts(line))
            if line.key not in self.successors:
                await self.move(line.key, "activate")

    def enrolled(self, identity: str, *names: str) -> f.IdentityEnrolled:
        """A machine of Olga's."""
        return f.IdentityEnrolled(
            identity=identity, kind="workload", names=names, owner=OLGA, backup_owner="person:otto",
            trust_domain="acme", environment="prod", change_id="c",
        )  # fmt: skip

    def key_facts(self, line: Line, **other: Any) -> tuple[f.Fact, ...]:
        """From its proposal to pre_active; `other` fields of the proposal."""
        fields: dict[str, Any] = {
            "key": line.key, "line": line.name, "class_": line.section.class_, "environment": "prod",
            "purpose": line.name.split("/")[4], "trusts": (), "fleet_estimate": 0, "mode": line.mode,
            "format": line.section.format, "algorithm": "ed25519", "slot": "soft", "not_before": self.now - 1,
            "rotate_by": self.now + YEAR_S // 2, "not_after": self.now + YEAR_S, "max_signatures": 100_000_000,
            "owner": OLGA, "backup_owner": "person:otto", "adopted": False, "change_id": "c",
        }  # fmt: skip
        generated = f.KeyGenerated(
            key=line.key, spki=base64.b64encode(line.spki).decode(), key_id=line.key_id.hex(), attributes={},
            origin="none", origin_proof="", origin_sha256="", software_token=True, operator=OLGA,
        )  # fmt: skip
        moves = [self.moved(line.key, verb) for verb in ("approve", "generate")]
        return f.KeyProposed(**(fields | other)), *moves, generated, self.moved(line.key, "verify")

    def moved(self, key: str, verb: str) -> f.KeyMoved:
        """One arrow."""
        return f.KeyMoved(key=key, verb=verb, actor=OLGA_NAME, person=OLGA, reason="test")

    def grant(self, line: str, uses: int, **other: Any) -> f.GrantIssued:
        """A grant for CI that names no digests."""
        fields: dict[str, Any] = {
            "grant": self.office.desk().new_id(), "change_id": "c", "identity": CI, "holder": "", "line": line,
            "rule": "ci", "policy_sha256": self.office.state.policy_sha256, "constraint": "any", "algorithm": "",
            "digests": (), "manifest_sha256": "", "name": "", "version": "", "max_uses": uses,
            "not_before": self.now, "not_after": self.now + HOUR_S, "gates": (),
        }  # fmt: skip
        return f.GrantIssued(**(fields | other))

    # ---- what happens ----

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock.now_ns() // NANOSECONDS)

    @property
    def olga(self) -> Actor:
        """A security officer."""
        return self.office.actor(caller(OLGA_NAME))

    async def write(self, *facts: f.Fact) -> None:
        """One act."""
        await self.office.act(lambda desk: (None, list(facts)))

    async def stop(self, rule: Any) -> None:
        """An act by a rule that returns facts only."""

        def acted(desk: Desk) -> tuple[None, Sequence[f.Fact]]:
            return None, rule(desk)

        await self.office.act(acted)

    async def move(self, key: str, verb: str) -> None:
        """One arrow, as an act."""
        await self.write(self.moved(key, verb))

    async def sign(self, request: SignAsk, who: Caller | None = None) -> Settled:
        """Through the flow."""
        return await self.flow.sign(request, who or caller())

    def records(self, *types: RecordType) -> list[Record]:
        """Of all logs, by log and seq."""
        return [record for log in self.logs.values() for record in log.reader.of_types(types)]

    def refusals(self) -> list[str]:
        """The reasons in the log."""
        return [record.head.event.reason for record in self.records(RecordType.REFUSAL)]

    # ---- helpers ----

    def _secret(self, name: str) -> Ed25519PrivateKey:
        return self.secrets.setdefault(name, Ed25519PrivateKey.generate())

    def _shared(self) -> Shared:
        states: dict[str, LogState] = {}
        for id_, log in self.logs.items():
            queue: Queue[Ticket] = Queue(self.limits)
            head = Head(log.size, log.root(), self.now)
            vkey = note.log_key(log.origin, self._secret(f"log {id_}").public_key().public_bytes_raw()).vkey
            states[id_] = LogState(id_, log, log.recovered.known, queue, head, vkey)
        home = states["ci" if self.own_log else "gov"]
        names = {f"k-{line.rsplit('/', 1)[1]}": line for line in self.lines} | self.successors
        keys = [self._line(key, line, home) for key, line in names.items()]
        policy = NO_POLICY
        if not self.governed:
            policy = compile_policy(policy_text(self.lines, self.rules).encode())
        return Shared(
            clock=self.clock, entropy=self.entropy, limits=self.limits, telemetry=Telemetry(self.clock, _Nowhere()),
            snapshot=Snapshot(policy, governed=self.governed), logs=states, governance=states["gov"],
            lines={} if self.governed else {line.name: line for line in keys}, ready=self.signer.ready,
            why=self.signer.why, leaf_age_s_max=300, outcome_delay_ms=1, release_outcome=False, keys=keys,
        )  # fmt: skip

    def _line(self, key: str, name: str, home: LogState) -> Line:
        secret = self._secret(key)
        public = spki(secret)
        cosigner = f"{home.log.name}/{name}"
        self.signer.keys[key] = (secret, cosigner)
        mode, format_ = (Mode.DIRECT, Format.ECDSA_DER) if self.direct else (Mode.PROOF, Format.TLOG_PROOF)
        section = KeySection(
            log=home.id, slots=("soft",), public_key="", line=name, mode=mode, format=format_,
            class_=self.lines[name], state="governed" if self.governed else "active",
        )  # fmt: skip
        line = Line(name, key, section, public, leaf.key_id(public), note.line_key(cosigner, public).vkey, home)
        home.lines.append(line)
        return line


class _Nowhere:
    """Telemetry's stream, unread."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


async def grant_for(node: Governed, line: str, uses: int = 1_000) -> str:
    """A right to sign: a grant of class release, or none yet for class low."""
    if line == LOW:
        await node.sign(ask(line, digest("first job")))
        return ""
    grant = node.grant(line, uses)
    await node.write(grant)
    return grant.grant


def sealed(node: Governed) -> set[int]:
    """Requests whose leaves have a signed head, by what the log says."""
    outcomes = [record.head.event for record in node.records(RecordType.OUTCOME)]
    return {ref.seq for event in outcomes if event.status is OutcomeStatus.SEALED for ref in event.requests}


def alerts(node: Governed) -> list[str]:
    """Names of the alerts in the governance log."""
    facts = [f.decode(one.event.kind, one.event.body) for one in node.records(RecordType.GOVERNANCE)
             if one.event.kind == "alert"]  # fmt: skip
    return [fact.name for fact in facts if isinstance(fact, f.AlertRaised)]


async def refused(node: Governed, *arguments: Any) -> Refusal:
    """Why a request was not signed."""
    with pytest.raises(Refusal) as caught:
        await node.sign(*arguments)
    return caught.value
