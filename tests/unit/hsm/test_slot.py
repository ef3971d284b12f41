"""A slot on its own: what it does when its disk, its worker's start or its own code fails it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from sealpress.config import SlotSection
from sealpress.errors import Damaged
from sealpress.hsm import messages as m
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.breaker import Phase
from sealpress.hsm.keytable import KeyTable
from sealpress.hsm.nonces import RecentNonces
from sealpress.hsm.probe import Probe
from sealpress.hsm.slot import LASTS, Around, Slot
from sealpress.hsm.state import State
from sealpress.telemetry import Telemetry


class Bench:
    """A slot that nobody has started, with a state directory of its own."""

    def __init__(self, directory: Path) -> None:
        """Its module is not there."""
        clock = VirtualClock()
        self.said = io.StringIO()
        self.failures: list[Damaged] = []
        self.state = State(directory, SeededEntropy())
        section = SlotSection(module="/nowhere.so", label="l")
        telemetry = Telemetry(clock, self.said)
        accounts = Accounts(KeyTable({}, {}), {"s": section}, self.state, telemetry)
        around = Around(
            self.state, clock, telemetry, accounts, (1, 5), lambda: None, self.failures.append, lambda turns: None
        )
        probe = Probe(b"", clock, RecentNonces())
        self.slot = Slot("s", section, self._open, probe, around)

    def _open(self) -> m.WorkerOpen:
        return m.WorkerOpen("s", "/nowhere.so", "", "", "l", "", 1, bytes(32), (), ())


def test_a_lie_that_cannot_be_written_down_ends_the_signer(tmp_path: Path) -> None:
    """A full disk brings no slot back: it gets no work at once, and the signer ends, as after a failed mark."""
    bench = Bench(tmp_path / "s")
    shutil.rmtree(bench.state.directory)
    bench.slot.quarantine(LASTS)
    assert bench.slot.breaker.phase is Phase.QUARANTINED
    assert [failure.reason for failure in bench.failures] == ["SIGNER_STATE"]
