"""How near does `log verify` come to the SHA-256 that it needs, and what does the second hash of a commit cost?

The baseline of the check is the bare kernel of the same core on the same processor: as many messages of as many blocks,
every lane busy, nothing around it, measured in the same run. Everything else that the check does (checksums, decoding,
order, comparing with tree/, header copies, zeros) is on the product's side. Signatures of heads are extra work that is
not SHA-256 and stand in a row of their own.
"""

from __future__ import annotations

import hashlib
import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.run import Target
from sealpress.core import leaf
from sealpress.core.batch import Batch
from sealpress.core.journal import Journal
from sealpress.core.merkle import EMPTY_ROOT, Tree
from sealpress.tlog import check, entry
from sealpress.tlog.entry import ArtifactEvent, GovernanceEvent, Head, RequestEvent
from sealpress.tlog.record import request_spec
from sealpress.values import DigestAlgorithm, Format, Mode, RecordType

if TYPE_CHECKING:
    from bench.harness import Ratios

MIB = 1 << 20
NAME, NUMBER = "bench.example/log", 1
TIME_NS = 1_700_000_000_000_000_000
NEEDED = 0.8
TURNS = 5


def event(count: int) -> RequestEvent:
    """An ordinary request of a build farm."""
    return RequestEvent(
        bytes(16), "job-4711-0815", "uri:spiffe://acme.example/ci/router", bytes(32), "acme/router/eu/prod/firmware",
        bytes(32), Mode.PROOF, Format.TLOG_PROOF, DigestAlgorithm.SHA256, bytes(32), 7,
        ArtifactEvent("router-4.2.bin", "4.2.0", 33_554_432, "application/octet-stream"), "client", bytes(32), "ci",
        "allow", 12, count > 1, "ipv4:10.1.2.3:40000",
    )  # fmt: skip


class Writer:
    """A log that is written by the core alone, without a daemon: leaf 0, then requests."""

    def __init__(self, directory: Path, *, second_hash: bool = False) -> None:
        """Starts an empty log."""
        self.directory = directory
        self.leaves = 0
        self.check_ns: list[int] = []
        self.hash_ns: list[int] = []
        log_id = hashlib.sha256(f"{NAME}/{NUMBER}".encode()).digest()
        self._event_fd = os.eventfd(0)
        directory.mkdir(exist_ok=True)
        self.tree = Tree(directory / "tree")
        name = NAME if second_hash else None
        self._journal = Journal(directory, log_id, bytes(32), 64 * MIB, log_name=name)
        self._journal.start(self.tree, self._event_fd)
        self._batch = Batch(8 * MIB)
        body = b'{"format":1,"name":"%s","number":%d,"segment_bytes":%d}' % (NAME.encode(), NUMBER, 64 * MIB)
        created = GovernanceEvent("log.created", body, hashlib.sha256(body).digest())
        head = entry.encode(Head(bytes(16), created, 0, 1, EMPTY_ROOT))
        self._batch.event(RecordType.GOVERNANCE, entry.VERSION, head, leaf.scope(NAME, ""))
        self._commit(1)

    def request(self, count: int, requests: int = 1) -> None:
        """One commit of so many requests of `count` digests each."""
        self._batch.reset()
        for position in range(requests):
            asked = event(count)
            head = entry.encode(Head(bytes(16), asked, self.leaves + position * count, count, EMPTY_ROOT))
            seed = hashlib.sha256(self.leaves.to_bytes(8, "big")).digest()
            spec = request_spec(asked, NAME, 0)
            self._batch.request(entry.VERSION, head, spec, seed, b"", bytes(32) * count, count)
        self._commit(count * requests)

    def _commit(self, leaves: int) -> None:
        place = self._journal.position()
        self._journal.submit(self._batch, TIME_NS + self.leaves, place.next_seq, place.next_leaf)
        os.eventfd_read(self._event_fd)
        result = self._journal.take()
        assert result is not None
        result.check()
        self.leaves += leaves
        self.check_ns.append(result.check_ns)
        self.hash_ns.append(result.hash_ns)

    def close(self) -> None:
        """Stops the thread."""
        self._journal.close()
        self.tree.close()
        os.close(self._event_fd)


def judged(ratio: Ratios, directory: Path, what: str, turns: int, target: Target | None = None) -> None:
    """Check a log several times; the row is how near it came to the kernel (median)."""
    reports = [check.check_log(directory, NAME, NUMBER, measure=True) for _ in range(turns)]
    assert all(report.ok for report in reports)
    rates = [report.compressions / report.cpu_ns * 1e3 for report in reports]
    kernels = [report.compressions / report.kernel_ns * 1e3 for report in reports]
    medians = statistics.median(rates), statistics.median(kernels)
    ratio.row(f"log verify, {what}", medians[0], "M/s", "the bare kernel", medians[1], target=target)


@pytest.mark.parametrize("count", [10_000, 100], ids=lambda count: f"{count} digests")
def test_verify_a_log_of_batches(ratio: Ratios, tiny: bool, tmp_path: Path, count: int) -> None:
    """SHA-256 compressions a second of the whole pass, against those of the kernel alone; one core."""
    writer = Writer(tmp_path / "log")
    for _ in range(2 if tiny else 300 if count > 1_000 else 5_000):
        writer.request(count)
    writer.close()
    target = Target(ratio_min=NEEDED) if count == 10_000 else None
    judged(ratio, writer.directory, f"batches of {count:,}", 1 if tiny else TURNS, target)


@pytest.mark.parametrize(("requests", "what"), [(1, "single requests"), (50, "50 single requests a commit")])
def test_verify_a_log_of_single_requests(ratio: Ratios, tiny: bool, tmp_path: Path, requests: int, what: str) -> None:
    """The same where every request is one leaf: a head to decode for about fifteen compressions."""
    writer = Writer(tmp_path / "log")
    for _ in range(20 if tiny else 5_000 if requests == 1 else 1_000):
        writer.request(1, requests)
    writer.close()
    judged(ratio, writer.directory, what, 1 if tiny else TURNS)


@pytest.mark.parametrize("count", [1, 100, 10_000], ids=lambda count: f"{count} digests")
def test_second_hash(ratio: Ratios, tiny: bool, tmp_path: Path, count: int) -> None:
    """Time of the second hash in the commit thread (leaves, root, checksums), against that of the first."""
    writer = Writer(tmp_path / "log", second_hash=True)
    for _ in range(3 if tiny else 100):
        writer.request(count)
    writer.close()
    second, first = statistics.median(writer.check_ns[1:]), statistics.median(writer.hash_ns[1:])
    ratio.row(f"second hash of a commit, {count:,} digests", second / 1e3, "us", "the first", first / 1e3)
