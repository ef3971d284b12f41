"""What is stored must be what was hashed: the commit thread finds it before the COMMIT, and writes none otherwise."""

from __future__ import annotations

import hashlib
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.scribe import LINES, request_event
from sealpress.core import leaf
from sealpress.core.batch import Batch
from sealpress.core.journal import CommitResult, Journal
from sealpress.core.merkle import EMPTY_ROOT, Tree
from sealpress.tlog import entry
from sealpress.tlog.entry import GovernanceEvent, Head
from sealpress.tlog.record import request_spec
from sealpress.values import DigestAlgorithm, Mode, RecordType

NAME = "sign.example/ci-1"
LOG_ID = hashlib.sha256(b"sign.example/ci-1/1").digest()
SEED, DIGEST = bytes(range(32)), bytes(32)
TIME_NS = 1_700_000_000_000_000_000


class Pair:
    """A journal that hashes twice, and its tree."""

    def __init__(self, directory: Path, log_name: str | None = NAME) -> None:
        """Open and start; the tree is in memory and empty, so the directory must be new."""
        self.event_fd = os.eventfd(0)
        self.tree = Tree()
        self.journal = Journal(directory, LOG_ID, bytes(32), 1 << 20, log_name=log_name)
        self.journal.start(self.tree, self.event_fd)

    def commit(self, batch: Batch) -> CommitResult:
        """Its result, whatever it is."""
        place = self.journal.position()
        self.journal.submit(batch, TIME_NS, place.next_seq, place.next_leaf)
        assert select.select([self.event_fd], [], [], 10)[0]
        os.eventfd_read(self.event_fd)
        result = self.journal.take()
        assert result is not None
        return result


@contextmanager
def opened(directory: Path, log_name: str | None = NAME) -> Iterator[Pair]:
    """Closed at the end."""
    pair = Pair(directory, log_name)
    try:
        yield pair
    finally:
        pair.journal.close()
        pair.tree.close()
        os.close(pair.event_fd)


def request(*, head: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, version: int = 1) -> Batch:
    """A batch of one REQUEST whose head or leaf spec says something else than the other."""
    event = request_event()
    fields: dict[str, Any] = {
        "nonce": bytes(16), "event": event, "first_leaf": 0, "count": 1, "items_root": EMPTY_ROOT,
    }  # fmt: skip
    hashed = msgspec.structs.replace(request_spec(event, NAME, 0), **(spec or {}))
    batch = Batch(1 << 16)
    batch.request(version, entry.encode(Head(**(fields | (head or {})))), hashed, SEED, b"", DIGEST, 1)
    return batch


def test_what_agrees_is_committed_and_measured(tmp_path: Path) -> None:
    """The same batch passes, and the time of the second hash stands beside that of the first."""
    with opened(tmp_path) as pair:
        result = pair.commit(request())

    assert (0, False, 1) == (result.status, result.differs, result.tree_size)
    assert result.check_ns > 0
    assert result.hash_ns > 0


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"kind": 3}},
        {"spec": {"key_id": bytes(31) + b"x"}},
        {"spec": {"scope": leaf.scope("sign.example/ci-2", LINES[Mode.PROOF])}},
        {"spec": {"security_version": 4}},
        {"head": {"first_leaf": 7}},
        {"head": {"count": 2}},
        {"head": {"items_root": bytes(32)}},
        {"head": {"event": request_event(line="acme/router/eu/prod/other")}},
        {"head": {"event": request_event(algorithm=DigestAlgorithm.SHA512)}},
        {"version": 2},
    ],
    ids=lambda change: repr(change)[:60],
)
def test_a_leaf_that_the_stored_entry_does_not_give_is_never_committed(tmp_path: Path, change: dict[str, Any]) -> None:
    """Yeti 2022: the tree holds a hash that nobody can make from the entry. Here it ends without a COMMIT."""
    with opened(tmp_path) as pair:
        assert pair.commit(request()).status == 0
        second = change | {"head": {"first_leaf": 1} | change.get("head", {})}
        result = pair.commit(request(**second))
        assert ("SP_E_FAILED", True) == (result.status_name, result.differs)
    torn = Journal(tmp_path, LOG_ID, bytes(32), 1 << 20)
    state = torn.state
    torn.close()

    assert (1, 1) == (state.tree_size, state.damage), "a torn tail, which recovery cuts away"
    path = tmp_path / "second"
    path.mkdir()
    with opened(path, None) as pair:  # without the second hash nobody would have noticed
        assert pair.commit(request(**change)).status == 0


@pytest.mark.parametrize("scope", [leaf.scope(NAME, "a/line"), leaf.scope("other/log", "")])
def test_an_event_leaf_of_another_scope_is_never_committed(tmp_path: Path, scope: bytes) -> None:
    """Events stand in the scope of the log alone."""
    event = GovernanceEvent("x", b"", bytes(32))
    batch = Batch(1 << 16)
    batch.event(RecordType.GOVERNANCE, 1, entry.encode(Head(bytes(16), event, 0, 1, EMPTY_ROOT)), scope)
    with opened(tmp_path) as pair:
        assert pair.commit(batch).differs


def test_bytes_that_are_no_head_are_never_committed(tmp_path: Path) -> None:
    """A record that no start could read again is refused before it counts."""
    batch = Batch(1 << 16)
    batch.event(RecordType.GOVERNANCE, 1, b"\x95\xc4\x10nonsense", leaf.scope(NAME, ""))
    with opened(tmp_path) as pair:
        assert pair.commit(batch).differs
