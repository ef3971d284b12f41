"""Does a node keep every promise over the hours of a real fleet, while all that operators do to a node is done to it?

Method: jobs with tokens of their own, a build farm and an auditor (kit.fleet) ask a governed node for everything. By a
schedule that one seed decides, its daemon is stopped, killed and started again, a worker killed, certificates, policy,
signing key and the CI's keys are exchanged, and its log is verified, backed up and archived beside it. At the end the
judge reads the whole log and compares it with what everybody was told.

The run has three thirds. In the second one and at the end of the others no daemon ends, so that what one process
gathers over a long life can be told from what is gathered over restarts.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import ssl
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cryptography import x509

from kit import pins
from kit.checkers import check_log
from kit.fleet import TOKEN_S, Fleet
from kit.issuer import Issuer, KeyServer
from kit.laboratory import Lab
from kit.vitals import Vitals
from sealpress.client import load_client
from sealpress.core.merkle import Tree
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.tlog.entry import GovernanceEvent, OutcomeEvent, OutcomeStatus, RequestEvent
from sealpress.tlog.explain import ulid_text
from sealpress.tlog.reader import committed
from sealpress.tlog.report import Report
from sealpress.wiring import lab_charter
from sealpress.wiring.certificates import Authority, issue, make_authority, now_utc, write_authority
from sealpress.wiring.lab_charter import APP

MINUTES = float(os.environ.get("SEALPRESS_FLEET_MINUTES", "0"))  # 0: each event once, one soon after the other
SEED = int(os.environ.get("SEALPRESS_FLEET_SEED", "1"))
JOBS_PER_S = float(os.environ.get("SEALPRESS_FLEET_JOBS_PER_S", "5"))
ENDING = ("stop", "kill", "key")  # of the daemon
EVENTS = (*ENDING, "worker", "certificate", "certificate now", "policy", "issuer", "verify", "backup", "archive")
OFTEN = (*EVENTS, *ENDING)  # starts are the most interesting
GAP_S = (4.0, 14.0)  # between two events
GAP_S_MIN = 0.3
CALM = 0.25  # of the first and the last third, at its end: no daemon ends
RELOAD_S = 30 if MINUTES else 2  # [tls]
SHOWN_S = 10.0  # until a new certificate is seen, once the daemon looks for it
WINDOW_S = 120  # of request ids: nobody asks again for that long, and the archive takes what is older
SETTINGS: dict[str, Any] = {
    "journal": {"write": "auto", "segment_bytes": 1 << 20},
    "idempotency": {"window_s": WINDOW_S},
}
# What may be more at the end: a daemon gathers 10,000 grants of jobs that are over, the allocator holes.
MIB_MORE = {"serve": 12.0, "guard": 4.0, "worker": 4.0}
GRANT_KIB = 1.5
GRANTS_KEPT = 10_000
DESCRIPTORS_MORE = 12
JUDGED_FROM_MINUTES = 6.0  # in less time nothing has grown to what it will be
EXPIRY_LATE_S = 30.0  # a grant's end is recorded so much later at most: the daemon may have been away


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happens to the node."""

    at_s: float
    event: str


def schedule(minutes: float, dice: random.Random) -> list[Moment]:
    """All moments of a run; the same for the same seed."""
    if not minutes:
        return [Moment(GAP_S_MIN * at, event) for at, event in enumerate(dice.sample(EVENTS, len(EVENTS)))]
    third_s = 20.0 * minutes
    found, at_s = [], dice.uniform(*GAP_S)
    while at_s < 3 * third_s:
        third, share = divmod(at_s / third_s, 1)
        calm = third == 1 or share >= 1 - CALM
        found.append(Moment(at_s, dice.choice([event for event in EVENTS if event not in ENDING] if calm else OFTEN)))
        at_s += dice.uniform(*GAP_S)
    return found


@dataclass
class Operators:
    """Those who do to the node what is done to nodes."""

    lab: Lab
    issuer: Issuer
    server: KeyServer
    authority: Authority
    done: Counter[str] = field(default_factory=Counter)
    keys: int = 1
    policies: int = 1
    _retired: dict[str, float] = field(default_factory=dict)  # keys of the CI that sign no more, since when

    async def act(self, event: str) -> None:
        """Do it, and wait until it is done."""
        deeds: dict[str, Callable[[], Any]] = {
            "stop": self._stop, "kill": self._kill, "key": self._key, "worker": self._worker,
            "certificate": lambda: self._certificate(told=False),
            "certificate now": lambda: self._certificate(told=True), "policy": self._policy, "issuer": self._issuer,
            "verify": self._verify, "backup": self._backup, "archive": self._archive,
        }  # fmt: skip
        doing = asyncio.ensure_future(asyncio.to_thread(deeds[event]))
        try:
            await asyncio.shield(doing)
        finally:
            await asyncio.wait([doing])  # a thread is not cancelled: it would go on with a node that is gone
        self.done[event] += 1

    def _stop(self) -> None:
        assert self.lab.stop_serve() == 0
        self.lab.start_serve()

    def _kill(self) -> None:
        self.lab.kill_serve()
        self.lab.start_serve()

    def _worker(self) -> None:
        os.kill(self.lab.pids()["worker"], signal.SIGKILL)

    def _key(self) -> None:
        """A successor: issued beside its former, in the configurations after a restart, then it signs."""
        self.keys += 1
        name = f"app-{self.keys}"
        self.lab.people.issue_key(name)
        self.lab.people.close()
        assert self.lab.node.stop() == 0
        self.lab.node.start()
        self.lab.people.activate_key(name)

    def _certificate(self, *, told: bool) -> None:
        """The server's, in the files at once; `told`: with SIGHUP, else the daemon sees it by itself."""
        directory = self.lab.directory / "tls"
        fresh = directory / "fresh"
        fresh.mkdir(exist_ok=True)
        certify(self.authority, fresh, "server")
        for end in ("key", "pem"):
            (fresh / f"server.{end}").rename(directory / f"server.{end}")
        if told:
            os.kill(self.lab.pids()["serve"], signal.SIGHUP)
        serial = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes()).serial_number
        host, _, port = load_client(self.lab.directory / "ci.toml").signing.rpartition(":")
        deadline = time.monotonic() + SHOWN_S + (0 if told else RELOAD_S)
        while True:
            shown = ssl.get_server_certificate((host, int(port)), timeout=10)
            if x509.load_pem_x509_certificate(shown.encode()).serial_number == serial:
                return
            assert time.monotonic() < deadline, "the new certificate is not shown"
            time.sleep(0.1)

    def _policy(self) -> None:
        """The rule of the jobs is another one, so that all their grants end; the next call of each brings a new one."""
        self.policies += 1
        people, text = self.lab.people, policy_text(self.policies)
        change = people.propose("olga", "policy.change", c.PolicyRequest(policy=text))
        # more time than before is a loosening, which takes the root quorum
        change = people.approve(change.change_id, "otto", "oscar" if self.policies % 2 else "stella")
        assert change.state != "in_review", change.missing

    def _issuer(self) -> None:
        """The CI signs with a new key from now on; the old ones go when their last token is over."""
        now_s = time.monotonic()
        self._retired[self.issuer.kid] = now_s
        self.issuer.rotate()
        for kid in [kid for kid, since_s in self._retired.items() if now_s - since_s > TOKEN_S + 5]:
            del self._retired[kid], self.issuer.keys[kid]
        self.server.body = self.issuer.jwks_bytes()

    def _verify(self) -> None:
        assert self.lab.cli("log", "verify", "data/main")["ok"]

    def _backup(self) -> None:
        self.lab.cli("log", "backup", "data/main", "backup")

    def _archive(self) -> None:
        options = ("--to", "cold", "--keep", "2", "--window-s", str(WINDOW_S), "--governance", "data/main")
        self.done["archived segments"] += len(self.lab.cli("log", "archive", "data/main", *options)["moved"])


def policy_text(version: int) -> str:
    """The laboratory's, with a rule for the CI's jobs on the ordinary line; every second version gives less time."""
    document = tomllib.loads(lab_charter.policy_text())
    firmware = document["line"][lab_charter.FIRMWARE]["rule"]["ci"]
    rule = {**firmware, "grant": {"max_ttl": "1h" if version % 2 else "30m", "constraint": "any"}}
    document["line"][APP]["rule"]["jobs"] = rule
    return tomli_w.dumps(document)


def certify(authority: Authority, directory: Path, name: str) -> None:
    """A certificate of the server, or of a person or machine of the laboratory."""
    now = now_utc(time.time_ns())
    if name == "server":
        issue(authority, directory, name, now=now, hosts=("localhost", "127.0.0.1", "::1"), server=True)
    else:
        issue(authority, directory, name, now=now, uris=(lab_charter.uri(name).removeprefix("uri:"),))


def prepared(authority: Authority, jwks_uri: str) -> Callable[[Path], None]:
    """What differs from the laboratory: a CA whose key is at hand, short segments, the CI's keys over HTTP."""

    def prepare(directory: Path) -> None:
        write_authority(authority, directory / "tls" / "ca.pem")
        for name in ("server", *lab_charter.PEOPLE, *lab_charter.MACHINES):
            certify(authority, directory / "tls", name)
        path = directory / "serve.toml"
        document = tomllib.loads(path.read_text()) | SETTINGS
        document["tls"]["reload_s"] = RELOAD_S
        document["issuer"]["ci"] = {"url": lab_charter.ISSUER, "kind": "github", "jwks_uri": jwks_uri}
        path.write_text(tomli_w.dumps(document))
        (directory / "policy.toml").write_text(policy_text(1))
        for pin in (directory / "token").glob("*pin"):
            pins.remember(pin.read_text().strip())

    return prepare


# ---- the run ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_fleet_is_served_whatever_happens_to_the_node() -> None:
    """Every answer verifies and stands in the log once, every refusal passes, and no process grows or says a trace."""
    print(f"SEALPRESS_FLEET_SEED={SEED}")  # noqa: T201 - to replay a failure
    issuer = Issuer("github", url=lab_charter.ISSUER, algorithm="ES256")
    authority = make_authority(now_utc(time.time_ns()), "soak CA")
    async with KeyServer(issuer.jwks_bytes()) as server:
        lab = await asyncio.to_thread(Lab, prepare=prepared(authority, server.uri))
        fleet = Fleet(lab, issuer, f"{lab_charter.LOG_NAMES[lab_charter.MAIN]}/1", JOBS_PER_S, random.Random(SEED + 1))
        operators = Operators(lab, issuer, server, authority)
        vitals = Vitals(lab.pids)
        try:
            await run(fleet, operators, vitals)
            lab.people.close()
            assert await asyncio.to_thread(lab.node.stop) == 0
            report, grants = await asyncio.to_thread(judge, lab, fleet, operators)
            print(summary(fleet, operators, report, grants, vitals))  # noqa: T201 - what we are here for
            check_growth(vitals, grants)
        except BaseException:
            print(lab.words[-6000:], dict(fleet.counts), dict(fleet.reasons), dict(operators.done))  # noqa: T201
            raise
        finally:
            await asyncio.to_thread(lab.__exit__, None, None, None)


async def run(fleet: Fleet, operators: Operators, vitals: Vitals) -> None:
    """The whole schedule; whatever anybody finds wrong ends it."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(vitals.watch())
        living = tasks.create_task(fleet.live())
        for moment in schedule(MINUTES, random.Random(SEED)):
            await asyncio.sleep(began + moment.at_s - time.monotonic())
            await operators.act(moment.event)
        await asyncio.sleep(began + 60 * MINUTES - time.monotonic())
        fleet.end()
        await living
        watching.cancel()


# ---- what is left ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Grants:
    """What the log says of the grants of jobs."""

    open: dict[str, int] = field(default_factory=dict)  # when each is over
    issued: int = 0
    most: int = 0  # open at one time
    late_s: float = 0.0  # from the end of one to its record, at most

    def follow(self, fact: f.Fact, at_s: float) -> None:
        """One fact more."""
        if isinstance(fact, f.GrantIssued):
            self.open[fact.grant] = fact.not_after
            self.issued += 1
            self.most = max(self.most, len(self.open))
        elif isinstance(fact, f.GrantMoved):
            self.late_s = max(self.late_s, at_s - self.open.pop(fact.grant))


def judge(lab: Lab, fleet: Fleet, operators: Operators) -> tuple[Report, Grants]:
    """The whole log, brought together again, against all that anybody was told."""
    directory = lab.directory / "data" / "main"
    assert lab.cli("log", "verify", "data/main")["ok"]
    if operators.done["archived segments"]:
        lab.cli("log", "unarchive", "data/main")
    trust = [lab.trust(f"app-{number + 1}") for number in range(operators.keys)]
    keys = {one.line_key.vkey for one in trust} | {log.vkey for one in trust for log in one.logs.values()}
    report = check_log(directory, keys=sorted(keys))
    found: dict[str, tuple[int, int, str]] = {}
    seen: list[int] = []
    grants, policies = Grants(), 0
    for record in committed(directory):
        event = record.event
        seen.append(record.seq)
        if isinstance(event, RequestEvent):
            assert event.request_id not in found, f"{event.request_id} has two leaves"
            found[event.request_id] = (record.head.first_leaf, record.head.count, ulid_text(event.event_id))
        elif isinstance(event, OutcomeEvent):
            assert event.status is OutcomeStatus.SEALED, f"{event.status}: {event.requests}"
        elif isinstance(event, GovernanceEvent) and event.kind not in f.OTHERS:
            fact = f.decode(event.kind, event.body)
            grants.follow(fact, record.time_ns / 1e9)
            policies += isinstance(fact, f.PolicyInForce)
    told = {one.request_id: (one.first_leaf, one.count, one.event_id) for one in fleet.told.values()}
    assert found == told, f"differ: {[one for one in found.keys() | told.keys() if found.get(one) != told.get(one)]}"
    followed = [seq for seq, _ in fleet.followed]
    assert followed == seen[: len(followed)], "the auditor was not told all records"
    assert policies == operators.policies
    assert grants.late_s < EXPIRY_LATE_S
    assert grants.most <= 2 * JOBS_PER_S * (TOKEN_S + EXPIRY_LATE_S) + 100
    tree = Tree()
    tree.append((directory / "tree" / "level-00").read_bytes()[: 32 * report.tree_size])
    assert tree.root() == report.root
    fleet.heads.check(tree)
    check_words(lab.words)
    return report, grants


def check_words(words: str) -> None:
    """Nothing that a process said is a trace or an error of ours, and no PIN."""
    assert "Traceback" not in words
    assert not pins.says_one(words)
    said = [json.loads(line) for line in words.splitlines() if line.startswith("{")]
    assert not [one for one in said if one.get("event") == "internal"]


def check_growth(vitals: Vitals, grants: Grants) -> None:
    """Memory and descriptors of each process at the end of each third, against those at the end of the first."""
    if MINUTES < JUDGED_FROM_MINUTES:
        return
    third_s = 20.0 * MINUTES
    for role, more in MIB_MORE.items():
        first, *later = windows(vitals, role)
        allowed = more + (GRANT_KIB * min(grants.issued, GRANTS_KEPT) / 1024 if role == "serve" else 0)
        for held in later:
            assert held.anonymous <= first.anonymous + allowed, f"{role} grows: {first}, {held}; {third_s:.0f} s apart"
            assert held.descriptors <= first.descriptors + DESCRIPTORS_MORE, f"{role} keeps open: {first}, {held}"


def windows(vitals: Vitals, role: str) -> list[Any]:
    """What a role holds at the end of each third, when its daemon has been up for a while."""
    third_s = 20.0 * MINUTES
    return [vitals.of(role, third_s * (third - CALM / 2), third_s * third) for third in (1, 2, 3)]


def summary(fleet: Fleet, operators: Operators, report: Report, grants: Grants, vitals: Vitals) -> str:
    """The figures."""
    counts = fleet.counts
    held = {}
    if MINUTES:
        for role in MIB_MORE:
            held[role] = [f"{one.anonymous:.1f} MiB, {one.descriptors:.0f} open" for one in windows(vitals, role)]
    return (
        f"fleet: {counts['jobs']} jobs and {counts['farm batches']} batches of a farm, {counts['calls']} calls, "
        f"{len(fleet.told)} acknowledged, {counts['proofs']} proofs verified offline, {counts['strangers']} strangers, "
        f"{counts['explained']} explained, {len(fleet.followed)} records followed, {counts['late jobs']} late jobs, "
        f"longest wait {fleet.waited_s_max:.1f} s; events {dict(operators.done)}; refusals that passed "
        f"{dict(fleet.reasons)}; {report.tree_size} leaves, {report.segments} segments, "
        f"{report.signatures} signatures, {len(fleet.heads.roots)} checkpoints compared; "
        f"{grants.issued} grants, {grants.most} open at most, "
        f"recorded {grants.late_s:.0f} s late at most; at the end of each third {held}"
    )
