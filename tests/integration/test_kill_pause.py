"""What callers notice when the signer or its worker dies: a pause, and errors that say when to ask again.

Method: callers sign all the time and write down every acknowledgement; something is killed with SIGKILL; service must
be back within seconds. (test_kill.py kills a thousand times and asks what is left.)
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from dataclasses import dataclass, field

import pytest

from kit.checkers import check_log
from kit.node import DIRECT, PROOF, Node
from sealpress.client import AsyncClient, Signed
from sealpress.core.proof import parse_note, parse_proof
from sealpress.errors import Busy, OutcomeUnknown, SealpressError, TransportError, Unavailable
from sealpress.values import DigestAlgorithm
from sealpress.verify.proof import verify_proof

CALLERS = 8
RETRYABLE = (Unavailable, Busy, TransportError, OutcomeUnknown)
SHA256 = DigestAlgorithm.SHA256


@dataclass
class Ledger:
    """What callers asked for and what they were told."""

    acknowledged: dict[str, tuple[bytes, Signed]] = field(default_factory=dict)
    unanswered: dict[str, bytes] = field(default_factory=dict)
    errors: list[SealpressError] = field(default_factory=list)


async def caller(client: AsyncClient, ledger: Ledger, number: int, until: asyncio.Event, line: str = PROOF) -> None:
    """Sign one after the other; write down every answer, and every request that got none."""
    count = 0
    while not until.is_set():
        request_id = f"caller-{number}-{count}-{len(ledger.acknowledged)}-{time.monotonic_ns()}"
        digest = hashlib.sha256(request_id.encode()).digest()
        count += 1
        try:
            signed = await client.sign(digest, request_id=request_id, line=line)
        except RETRYABLE as error:
            ledger.unanswered[request_id] = digest
            ledger.errors.append(error)
            await asyncio.sleep(0.02)
            continue
        ledger.acknowledged[request_id] = (digest, signed)


@pytest.mark.slow
@pytest.mark.parametrize("line", [PROOF, DIRECT])
def test_kill_of_a_worker_is_a_pause(line: str) -> None:
    """kill -9 of a worker under load: at most retryable errors, service within 5 s, no leaf lost."""
    with Node() as node:
        for _ in range(3):
            ledger = Ledger()
            asyncio.run(kill_and_go_on(node, ledger, node.kill_worker, line))
            assert all(isinstance(error, RETRYABLE) for error in ledger.errors)
        assert node.stop("serve") == 0
        check_log(node.log_directory)


async def kill_and_go_on(node: Node, ledger: Ledger, kill: object, line: str) -> None:
    """Callers go on while something is killed; service must be back within 5 seconds."""
    assert callable(kill)
    until = asyncio.Event()
    async with node.aclient(attempts_max=1, timeout_s=10) as client:
        await client.key(line)
        tasks = [asyncio.create_task(caller(client, ledger, number, until, line)) for number in range(CALLERS)]
        await asyncio.sleep(0.3)
        assert ledger.acknowledged
        kill()
        killed = time.monotonic()
        before = len(ledger.acknowledged)
        while len(ledger.acknowledged) < before + 2 * CALLERS:
            assert time.monotonic() - killed < 5, f"no service {ledger.errors[-3:]}"
            await asyncio.sleep(0.02)
        until.set()
        await asyncio.gather(*tasks)
        if line == PROOF:
            for request_id, digest in ledger.unanswered.items():  # their leaves are not lost
                signed = await client.sign(digest, request_id=request_id, line=line)
                verify_proof(node.trust(), SHA256, digest, signed.proof)


@pytest.mark.slow
@pytest.mark.parametrize("line", [PROOF, DIRECT])
def test_kill_of_the_signer_is_a_pause(line: str) -> None:
    """kill -9 of the whole signer, started again by hand: at most retryable errors, back within 5 s, no leaf lost."""
    with Node() as node:

        def kill() -> None:
            node.kill("signer")
            node.start("signer")

        for _ in range(3):
            ledger = Ledger()
            asyncio.run(kill_and_go_on(node, ledger, kill, line))
        assert node.stop("serve") == 0
        check_log(node.log_directory)


@pytest.mark.slow
def test_leaves_that_grow_too_old_lapse() -> None:
    """Leaves not sealed in time are recorded `lapsed`; no proof covers them; the same id then gets a new leaf."""
    settings = {"signer": {"leaf_age_s_max": 2}, "slot": {"soft": {"deadline_ms": 1000}}}
    with Node(settings=settings) as node, node.client(attempts_max=1, timeout_s=10) as client:
        client.sign(hashlib.sha256(b"first").digest(), line=PROOF)
        digest, request_id = hashlib.sha256(b"late").digest(), "late-1"
        node.children["signer"].process.send_signal(signal.SIGSTOP)  # ready as far as the daemon knows, but mute
        with pytest.raises(SealpressError):
            client.sign(digest, request_id=request_id, line=PROOF)
        time.sleep(3)
        node.kill("signer")
        node.start("signer")
        signed = retried(client, digest, request_id)
        events = client.explain(digest=(SHA256, digest))
        requests = [event for event in events if event.type == "request"]
        lapsed = [event for event in events if event.type == "outcome" and '"lapsed"' in event.json]
        assert len(requests) == 2
        assert len(lapsed) == 1
        assert signed.leaf_index == max(event.first_leaf_index for event in requests)
        verify_proof(node.trust(), SHA256, digest, signed.proof)


def retried(client: object, digest: bytes, request_id: str) -> Signed:
    """Ask until the slot is back."""
    for _ in range(100):
        try:
            return client.sign(digest, request_id=request_id, line=PROOF)  # type: ignore[attr-defined, no-any-return]
        except RETRYABLE:
            time.sleep(0.1)
    raise AssertionError("the slot did not come back")


def test_a_restart_shows_what_was_signed() -> None:
    """Killed before the checkpoint file was written: the next start has a head that covers every proof handed out."""
    digest = hashlib.sha256(b"once").digest()
    with Node(settings={"checkpoint": {"interval_ms": 600_000}}) as node:
        with node.client() as client:
            signed = client.sign(digest)
        time.sleep(0.2)  # its outcome is recorded: nothing is left to seal
        node.kill("serve")
        node.start("serve")
        with node.client() as client:
            assert parse_note(client.get_checkpoint()).size >= parse_proof(signed.proof).note.size
