"""A slot on its own: what it does when its disk, its worker's start or its own code fails it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from sealpress.config import SlotSection
from sealpress.errors import CannotStart, Damaged
from sealpress.hsm import frames
from sealpress.hsm import work as w
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.breaker import Phase
from sealpress.hsm.child import Child
from sealpress.hsm.finish import unsigned
from sealpress.hsm.keytable import KeyTable
from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.probe import Probe
from sealpress.hsm.slot import JOBS_AT_WORK_MAX, JOBS_WAITING_MAX, Slot, faded
from sealpress.hsm.state import State
from sealpress.hsm.succession import CHILDREN_MAX, LASTS, Around
from sealpress.hsm.turns import SlotLost, Turn
from sealpress.telemetry import Telemetry


class Bench:
    """A slot that nobody has started, with a state directory of its own."""

    def __init__(self, directory: Path, backoff_ms: tuple[int, int] = (1, 5)) -> None:
        """Its module is not there."""
        clock = VirtualClock()
        self.said = io.StringIO()
        self.failures: list[Damaged] = []
        self.patience = 250
        self.faults: list[Exception] = []  # raised, one at a time, instead of a first message
        self.state = State(directory, SeededEntropy())
        section = SlotSection(module="/nowhere.so", label="l")
        telemetry = Telemetry(clock, self.said)
        accounts = Accounts(KeyTable({}, {}), {"s": section}, self.state, telemetry)
        around = Around(
            self.state, clock, telemetry, accounts, backoff_ms, lambda: None, self.failures.append, lambda turns: None
        )
        probe = Probe(b"", clock, RecentNonces())
        self.slot = Slot("s", section, self._open, probe, around)

    def _open(self) -> w.WorkerOpen:
        if self.faults:
            raise self.faults.pop()
        return w.WorkerOpen("s", "/nowhere.so", "", "", "l", "", 1, bytes(32), (), ())


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # of those that are free: none below it, and the limit forbids it and all above
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lie_that_cannot_be_written_down_ends_the_signer(tmp_path: Path) -> None:
    """A full disk brings no slot back: it gets no work at once, and the signer ends, as after a failed mark."""
    bench = Bench(tmp_path / "s")
    shutil.rmtree(bench.state.directory)
    bench.slot.quarantine(LASTS)
    assert bench.slot.breaker.phase is Phase.QUARANTINED
    assert [failure.reason for failure in bench.failures] == ["SIGNER_STATE"]


async def test_a_lie_that_is_heard_while_the_next_worker_is_waited_for_has_the_longest_wait(tmp_path: Path) -> None:
    """Errors opened the breaker, and then the last worker still gave out a wrong signature."""
    bench = Bench(tmp_path / "s", (1, 200))
    for _ in range(3):
        bench.slot.breaker.failed(0, "CKR_0x30")
    began = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(bench.slot._workers.wait())
    await asyncio.sleep(0)
    bench.slot.quarantine("WRONG_SIGNATURE")
    await waiting
    assert bench.slot.breaker.phase is Phase.QUARANTINED
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_a_lie_that_is_heard_while_workers_do_not_end_is_heeded(tmp_path: Path) -> None:
    """Workers that not even SIGKILL ends: when there is room for the next one at last, a person is waited for first."""
    bench = Bench(tmp_path / "s")
    ended = asyncio.Event()
    for _ in range(CHILDREN_MAX):
        child = Child(bench._open(), 1.0, lambda: None, lambda _: None)
        task = bench.slot._workers.children[child] = asyncio.create_task(ended.wait())
        task.add_done_callback(lambda task, child=child: bench.slot._workers.gone(child, task))
    waiting = asyncio.create_task(bench.slot._workers.wait())
    await asyncio.sleep(0.1)
    bench.slot.quarantine(LASTS)
    ended.set()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    bench.state._quarantine("s").unlink()
    await waiting


async def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """No descriptors left: the slot is down and says why; once there are some, a worker is started."""
    bench = Bench(tmp_path / "s")
    with no_descriptors():
        await bench.slot.start()
        assert bench.slot.reason == "WORKER_START"
    while bench.slot.reason != "MODULE_MISSING":
        bench.patience -= 1
        assert bench.patience
        await asyncio.sleep(0.02)
    await bench.slot.close()


async def test_a_worker_of_another_release_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program was exchanged under a signer that runs on: the slot says what to do; a worker of its own follows."""
    bench = Bench(tmp_path / "s")
    with monkeypatch.context() as former:
        former.setattr(frames, "VERSION", frames.VERSION - 1)
        await bench.slot.start()
        assert bench.slot.reason == "WORKER_VERSION"
        assert "start the signer again" in bench.said.getvalue()
    while bench.slot.reason != "MODULE_MISSING":
        bench.patience -= 1
        assert bench.patience
        await asyncio.sleep(0.02)
    await bench.slot.close()


async def test_a_bug_of_ours_costs_a_slot_a_pause(tmp_path: Path) -> None:
    """What raises while a worker is being started is told, and another one is started."""
    bench = Bench(tmp_path / "s")
    bench.faults = [ZeroDivisionError("a bug")]
    with pytest.raises(CannotStart) as caught:
        await bench.slot.start()
    assert caught.value.reason == "MODULE_MISSING"
    assert "ZeroDivisionError" in bench.said.getvalue()
    await bench.slot.close()


async def test_a_turn_that_nobody_is_before_is_sent_by_the_same_rules(tmp_path: Path) -> None:
    """Not for a key that was stopped meanwhile, and not more than keep the worker busy; the rest waits."""
    bench = Bench(tmp_path / "s")
    child = Child(bench._open(), 10.0, lambda: None, lambda stock: None)
    child.sessions, bench.slot._child = 1, child
    stopped, *turns = [turn(wanted=number > 0) for number in range(2 * JOBS_AT_WORK_MAX)]
    bench.slot.put(stopped)
    assert (True, 0) == (stopped.answer.done(), child.jobs)
    for each in turns:
        bench.slot.put(each)
    assert 0 < child.jobs <= JOBS_AT_WORK_MAX
    assert len(turns) == bench.slot.waiting


async def test_a_slot_that_is_up_and_full_says_so(tmp_path: Path) -> None:
    """Who finds no room to wait hears SLOT_FULL; SLOT_DOWN is what a slot without a worker says."""
    bench = Bench(tmp_path / "s")
    down, waits, full = (turn(wanted=True, jobs=jobs) for jobs in (1, JOBS_WAITING_MAX, 1))
    bench.slot.put(down)
    child = Child(bench._open(), 10.0, lambda: None, lambda stock: None)
    child.sessions, child.jobs, bench.slot._child = 1, JOBS_AT_WORK_MAX, child
    bench.slot.put(waits)
    bench.slot.put(full)
    assert not waits.answer.done()
    assert ["SLOT_DOWN", "SLOT_FULL"] == [reason(one) for one in (down, full)]


def reason(failed: Turn) -> str:
    """What its caller hears."""
    lost = failed.answer.exception()
    assert isinstance(lost, SlotLost)
    return unsigned(lost, "s").reason


def turn(*, wanted: bool, jobs: int = 1) -> Turn:
    """So many operations."""
    job = w.WorkerJob("k", 0x1041, 0, 64, bytes(32))
    return Turn("tenant", "k", [job] * jobs, ("s",), lambda: wanted, asyncio.get_running_loop().time() + 10)


def test_a_slot_that_idles_for_days_has_a_speed() -> None:
    """What an operation took fades, so that it is tried again, but not to nothing; what is not known stays unknown."""
    each_ns = 20_000_000.0
    for _ in range(100_000):
        each_ns = faded(each_ns)
    assert each_ns == 1_000
    assert (faded(0.0), faded(100.0), faded(10_000.0)) == (0.0, 100.0, 9_000.0)
