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
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from kit.softkeys import SoftKey
from sealpress.config import KeySection, Limits
from sealpress.core import leaf
from sealpress.flow import Flow
from sealpress.governance import facts as f
from sealpress.governance.desk import Actor, Desk
from sealpress.governance.policy import compile_policy
from sealpress.governance.snapshot import Snapshot
from sealpress.hsm.link import DirectItem, DirectResult, Mark, Openings, Sealed, SealedLine, SignerStatus
from sealpress.steps import _archive
from sealpress.steps._office import NO_POLICY, Office
from sealpress.steps._state import NANOSECONDS, Caller, Head, Line, LogState, Settled, Shared
from sealpress.steps.batch import Queue
from sealpress.telemetry import Telemetry
from sealpress.tlog.log import Log, LogSettings
from sealpress.tlog.record import Record
from sealpress.values import Artifact, DigestAlgorithm, Format, Identity, KeyClass, Mode, RecordType, SignAsk
from sealpress.verify import note
from sealpress.verify.anchors import NAMESPACE, AnchorKey, Officer, TrustAnchors
from sealpress.verify.change import encode
from sealpress.verify.evidence import Evidence
from sealpress.verify.witness import Cosignature

GOVERNANCE_LOG = "sign.example/ci"
DEPLOYMENT = "test.sign.example"
TEST = "acme/router/eu/test/ci"
LOW = "acme/router/eu/prod/nightly"
RELEASE = "acme/router/eu/prod/app"
FIRMWARE = "acme/router/eu/prod/firmware"
CI = "uri:spiffe://acme/ci"
OLGA = "person:olga"
OLGA_NAME = "uri:spiffe://acme/olga"
ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "https://sign.example"
YEAR_S = 365 * 86_400
HOUR_S = 3_600

APPROVALS = """
[line."{line}".approvals]
issuance   = {{ quorum = 3, groups = ["key-officers"] }}
signing    = {{ quorum = 2, groups = ["release-approvers", "product-security"], min_groups = 2 }}
retirement = {{ quorum = 2, groups = ["retirement-officers"] }}
exception  = {{ quorum = 2, groups = ["release-approvers", "security-officers"], must_include = ["security-officers"] }}
"""  # TOML wants an inline table on one line


def policy_text(lines: dict[str, KeyClass], rules: str = "") -> str:
    """A policy in which CI, by certificate, may ask for every line; `rules` is appended."""
    text = "schema = 1\n"
    for line, class_ in lines.items():
        isolation = 'isolation = "hsm"\n' if class_ in (KeyClass.FIRMWARE, KeyClass.ROOT) else ""
        text += f"""
[line."{line}"]
class = "{class_}"
mode = "proof"
format = "tlog-proof"
digest_algs = ["sha256"]
owner = "person:olga"
backup_owner = "person:otto"
{isolation}
[line."{line}".rule.ci]
action = "sign"
identities = ["{CI}"]
"""
        if class_ in (KeyClass.RELEASE, KeyClass.FIRMWARE, KeyClass.ROOT):
            text += APPROVALS.format(line=line)
    return text + rules


class SoftSigner:
    """Signs what a guard would, with keys in memory; counts, can be held, and remembers what was stopped."""

    def __init__(self, clock: VirtualClock) -> None:
        """No keys yet."""
        self.clock = clock
        self.keys: dict[str, tuple[Ed25519PrivateKey, str]] = {}  # by id: key, cosigner's name
        self.logs: dict[str, Ed25519PrivateKey] = {}
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.stopped: set[str] = set()
        self.barred: dict[str, str] = {}  # keys that are not ready, and why
        self.signed: dict[str, int] = {}  # heads by key
        self.told: list[str] = []
        self.gate = asyncio.Event()  # cleared: no seal comes back
        self.gate.set()

    def ready(self, key: str) -> bool:
        """As the real link says it."""
        return key in self.keys and key not in self.stopped and key not in self.barred

    def why(self, key: str) -> str:
        """As the real link says it."""
        return self.barred.get(key, "")

    async def advance(
        self,
        origin: str,
        size: int,
        root: bytes,
        consistency: bytes,
        newest_leaf_time: int,
        opened: Openings | None = None,
    ) -> None:
        """The mark."""
        self.heads[origin] = (size, root)

    async def seal(self, origin: str, size: int, keys: list[str], *, hold: bool = False) -> Sealed:
        """Signature lines of log and keys; nobody holds here."""
        assert not hold
        await self.gate.wait()
        size, root = self.heads[origin]
        text = note.checkpoint_text(origin, size, root)
        time = self.clock.now_ns() // NANOSECONDS
        of_log = self.logs[origin]
        log_id = note.log_key(origin, of_log.public_key().public_bytes_raw()).key_id
        lines = {}
        for key in keys:
            if key in self.stopped:
                lines[key] = SealedLine(b"", 0, 0, "", "STOPPED")
                continue
            private, name = self.keys[key]
            raw = time.to_bytes(8, "big") + private.sign(note.cosignature_message(text, time))
            lines[key] = SealedLine(
                note.signature_line(name, note.line_key(name, spki(private)).key_id, raw), 0, 9, "a"
            )
            self.signed[key] = self.signed.get(key, 0) + 1
        return Sealed(size, time, note.signature_line(origin, log_id, of_log.sign(text)), lines)

    async def cosigned(self, origin: str, size: int, cosignatures: Sequence[Cosignature]) -> None:
        """Never asked."""
        raise NotImplementedError

    async def direct(self, key: str, items: list[DirectItem], size: int) -> list[DirectResult]:
        """A stand-in for a signature for each leaf."""
        private, _ = self.keys[key]
        return [DirectResult(private.sign(item.digest), 0, 9, "a") for item in items]

    async def mark(self, origin: str) -> Mark | None:
        """Of one log."""
        return (await self.status()).logs.get(origin)

    async def status(self) -> SignerStatus:
        """Marks only."""
        return SignerStatus("", {name: Mark(size, root, 0) for name, (size, root) in self.heads.items()}, {}, {}, {})

    async def stop(self, key: str) -> None:
        """As the guard's."""
        self.stopped.add(key)
        self.told.append(f"stop {key}")

    async def lift(self, key: str, evidence: Evidence) -> None:
        """Believes everything."""
        self.stopped.discard(key)
        self.told.append(f"lift {key}")


def govern(node: Any, line: str, name: str, uses: int) -> str:
    """Make a provisioned, unstarted kit.node.Node a governed one: its log begins as if all had been approved.

    `name` may have `line` signed, and holds a grant of so many uses; its id.
    """
    from sealpress.clock import SystemClock
    from sealpress.config import load
    from sealpress.governance.state import State
    from sealpress.steps._office import _events
    from sealpress.wiring import dev

    maker = Governed(node.directory / "unused", lines={line: KeyClass.TEST}, clock=SystemClock())
    document = structs.replace(maker.document(), log=dev.LOG_NAME)
    raw = encode(document)
    (node.directory / "anchors.json").write_bytes(raw)
    armors = tuple(key.sign(raw, NAMESPACE) for key in maker.officers)
    (node.directory / "anchors.sig").write_text("".join(armors))
    keys = {key: {"state": "governed"} for key in load(node.config).key}
    node.configure({"governance": {"deployment": DEPLOYMENT, "signatures": ["anchors.sig"]}, "key": keys})
    id_, section = next((id_, key) for id_, key in load(node.config).key.items() if key.line == line)
    public = note.canonical_spki((node.directory / section.public_key).read_bytes())
    of_line = SimpleNamespace(
        key=id_, name=line, section=section, mode=section.mode, spki=public, key_id=leaf.key_id(public)
    )
    maker.office = SimpleNamespace(state=State(), desk=lambda: SimpleNamespace(new_id=lambda: "G" * 26))  # type: ignore[assignment]
    facts = [
        f.AnchorsAdopted(document=raw.decode(), signatures=armors),
        f.PolicyInForce(body=policy_text({line: KeyClass.TEST}).replace(CI, name)),
        maker.enrolled("workload:builder", name),
        *maker.key_facts(of_line, max_signatures=max(uses, 100_000_000)),  # type: ignore[arg-type]
        maker.moved(id_, "activate"),
        grant := maker.grant(line, uses, identity=name, policy_sha256="0" * 64),
    ]
    log = Log.open(
        LogSettings(node.log_directory, dev.LOG_NAME, 1, write="auto", governance=True), maker.clock, SeededEntropy()
    )
    log.start(None)
    draft = log.draft()
    for event in _events(facts, document.profile):
        draft.event(RecordType.GOVERNANCE, event)
    log.commit_now(draft)
    log.close()
    return grant.grant


def spki(private: Ed25519PrivateKey) -> bytes:
    """DER of its public half."""
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def until(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Until it is so."""
    async with asyncio.timeout(timeout_s):
        while not true():  # noqa: ASYNC110 - the test knows nobody who would set an event
            await asyncio.sleep(0.001)


def ask(line: str, *digests: bytes, request_id: str = "", **other: Any) -> SignAsk:
    """A request for these SHA-256 digests."""
    name = request_id or f"r-{hashlib.sha256(b''.join(digests)).hexdigest()[:16]}"
    return SignAsk(name, line, DigestAlgorithm.SHA256, b"".join(digests), batch=len(digests) > 1, **other)


def digest(number: object) -> bytes:
    """Some digest."""
    return hashlib.sha256(str(number).encode()).digest()


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
            self.signer.heads[log.origin] = (log.size, log.root())
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
            queue = Queue(self.limits)
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


def issuer() -> f.IssuerRegistered:
    """The CI's tokens are read."""
    return f.IssuerRegistered(issuer=ISSUER, kind="github", audience=AUDIENCE, owner=OLGA, change_id="c")


def caller(name: str = CI, **other: Any) -> Caller:
    """Somebody with a certificate of his own."""
    certificate = hashlib.sha256(name.encode()).digest()
    fields: dict[str, Any] = {"id": name, "certificate_sha256": certificate, "not_after": 1 << 40}
    return Caller(Identity(**(fields | other)), "ipv4:127.0.0.1:4000")


ARTIFACT = Artifact("router.bin", "1.2.0", 4_096, "application/octet-stream")
