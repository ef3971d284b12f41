"""What a node says of keys that nobody configured, of counts that differ, and of a key that it must not use."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import shim
from kit.acme import LOW, ask, digest
from kit.governed import Governed
from kit.node import DIRECT, PROOF, Node
from kit.tokens import import_key
from sealpress.client import Client
from sealpress.errors import Precondition, Unavailable
from sealpress.governance import facts as f
from sealpress.hsm.status import SlotStatus
from sealpress.steps import _slots, _strangers
from sealpress.values import RecordType

COUNTER = 0x8000_0042
PROBE_KEY = {"public_key": "keys/probe.pem", "cka_label": "probe"}


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for it."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not come"
        time.sleep(0.05)


def records(client: Client, name: str) -> list[str]:
    """The records of this name in the log, as JSON."""
    return [event.json for event in client.tail() if event.type == "governance" and name in event.json]


def test_a_node_tells_of_strange_keys_and_counts_once() -> None:
    """GR-01, GR-07: status, metrics, a record of each; a restart of serve and signer records nothing again."""
    settings = {
        "slot": {"soft": {"operations_attribute": COUNTER, "probe_key": PROBE_KEY, "probe_ms": 600_000}},
        "signer": {"worker_backoff_ms": 100},
    }
    with Node(shim=True, settings=settings, start=False) as node:
        import_key(node, "stranger", "70")
        node.shim.inject("C_GetAttributeValue", shim.counter(COUNTER))  # of all keys together
        node.start("signer")
        node.start("serve")
        with node.client(attempts_max=1, timeout_s=5) as client:
            until(lambda: records(client, "key.unmanaged"))
            (told,) = client.get_status().slots
            (name,) = told.unmanaged_keys
            assert name.startswith("stranger (70, ")
            assert name in records(client, "key.unmanaged")[0]
            assert not told.differing_keys
            assert not records(client, "alert.operations")

            client.sign(hashlib.sha256(b"a").digest(), line=DIRECT)
            (worker,) = node.workers()
            os.kill(worker, signal.SIGKILL)
            until(lambda: records(client, "alert.operations"))
            (told,) = client.get_status().slots
            assert "1 operations" in told.differing_keys["proof-p256"]
            assert "direct-p256" not in told.differing_keys
            assert node.metrics()['sealpress_slot_unmanaged_keys{slot="soft"}'] == 1
            assert node.metrics()['sealpress_slot_differing_keys{slot="soft"}'] == len(told.differing_keys) > 0
            shown = [sys.executable, "-m", "sealpress", "status", "--client", str(node.directory / "client.toml")]
            words = " ".join(subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split())
            assert f"soft: key {name} may sign and is in no configuration" in words
            assert "soft: of key proof-p256, the token counts 1 operations" in words
            until(lambda: (node.directory / "data" / "strangers.json").read_text().count("proof-p256"))
        for command in ("serve", "signer"):
            node.stop(command)
        for command in ("signer", "serve"):
            node.start(command)
        with node.client() as client:
            until(lambda: client.get_status().slots[0].unmanaged_keys)
            client.sign(hashlib.sha256(b"b").digest(), line=PROOF)
            assert [len(records(client, name)) for name in ("key.unmanaged", "alert.operations")] == [1, 1]


async def test_a_barred_key_asks_for_no_retry(tmp_path: Path) -> None:
    """A key that is not as its class demands: no wait helps its callers, so none is told; a slot that is down is."""
    async with Governed(tmp_path) as node:
        await node.begin()
        for reason, kind, said in (("KEY_ATTRIBUTES", Precondition, "KEY_NOT_ACTIVE"), ("", Unavailable, "SLOT_DOWN")):
            node.signer.barred[node.shared.lines[LOW].key] = reason
            with pytest.raises(kind) as caught:
                await node.sign(ask(LOW, digest(1)))
            assert (caught.value.reason, caught.value.retry_after_ms > 0) == (said, kind is Unavailable)
            assert caught.value.hint


async def test_a_governed_node_records_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before its anchors; then what it knew, what comes, and what comes again; nothing of what only goes."""
    monkeypatch.setattr(_strangers, "REST_S", 0.02)
    monkeypatch.setattr(_strangers, "WAIT_S", 0.02)
    async with Governed(tmp_path) as node:
        strangers = _strangers.Strangers(node.shared, tmp_path / "strangers.json")

        async def hear(*named: str, count: str = "") -> list[str]:
            counts = {"k": count} if count else {}
            slot = SlotStatus(True, 1, 0, 0, "", unmanaged=named, counts=counts)
            strangers.heard({"away": SlotStatus(False, 0, 0, 0, "SLOT_DOWN"), "s": slot})
            await asyncio.sleep(0.2)
            return [fact.text for fact in _alerts(node)]

        assert await hear("a") == []
        strangers.begin()
        assert await hear("a") == []
        await node.begin()
        assert [text[-3:] for text in await hear("a")] == [": a"]
        assert len(await hear("a", count="two more")) == 2
        assert len(await hear("a", count="three more")) == 2
        assert (await hear("a", "b"))[2:] == ["its token holds keys that may sign and that no [key.<id>] names: b"]
        assert len(await hear("b")) == 3
        assert len(await hear("a", "b")) == 4
        assert len((await hear(*(f"{'x' * 200} {number}" for number in range(64))))[-1]) < 2_000
        strangers.close()


async def test_a_lie_is_recorded_as_soon_as_the_log_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarantine before the trust anchors is in the log once they are, and once; a node that ends waits for none."""
    monkeypatch.setattr(_slots, "RETRY_S", 0.02)
    async with Governed(tmp_path) as node:
        slots = _slots.Slots(node.shared, {}, tmp_path / "strangers.json")
        lied = {"s": SlotStatus(False, 0, 0, 0, "WRONG_SIGNATURE", "quarantined")}
        well = {"s": SlotStatus(True, 1, 0, 0, "")}
        for heard in (well, lied, well, lied):
            slots.heard(heard)
            await asyncio.sleep(0.05)
        assert _alerts(node) == []
        await node.begin()
        await asyncio.sleep(0.2)
        assert [(fact.name, fact.subject) for fact in _alerts(node)] == [("alert.slot", "s")]
        slots.heard(well)
        slots.heard(lied)
        await asyncio.sleep(0)
        slots.close()


def _alerts(node: Governed) -> list[f.AlertRaised]:
    events = [record.event for record in node.records(RecordType.GOVERNANCE)]
    facts = [f.decode(event.kind, event.body) for event in events if event.kind == "alert"]
    return [fact for fact in facts if isinstance(fact, f.AlertRaised)]
