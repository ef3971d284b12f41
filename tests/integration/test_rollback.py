"""Can a log get a second history: by an older copy, by a second machine, by a second start, by the clock?

Real pairs of processes; but for one case with a line that holds nothing, and so would sign at once.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator

import pytest

from kit.node import PROOF, Node
from kit.witnessed import Watched, watched
from sealpress.core import p11
from sealpress.core.proof import parse_proof
from sealpress.errors import CannotStart, SealpressError
from sealpress.wiring import serve

DAMAGED, CANNOT_START = 3, 4


def sign(node: Node, count: int, name: str) -> int:
    """Requests, one after the other; the size of the last head."""
    with node.client() as client:
        digests = [hashlib.sha256(f"{name} {number}".encode()).digest() for number in range(count)]
        return parse_proof([client.sign(digest, line=PROOF) for digest in digests][-1].proof).note.size


def witnessed(found: Watched, size: int) -> None:
    """Until all three have seen this head or a later one."""
    end = time.monotonic() + 10
    while any(not one.seen or one.seen[-1][1] < size for one in found.witnesses):
        assert time.monotonic() < end
        time.sleep(0.02)


class Copies:
    """Two states of a node, to be mixed."""

    PARTS = ("data", "signer")

    def __init__(self, node: Node) -> None:
        """Nothing was taken yet."""
        self._node = node

    def take(self, name: str) -> None:
        """While nothing runs."""
        for part in self.PARTS:
            shutil.copytree(self._node.directory / part, self._node.place / f"{name}-{part}")

    def put_back(self, *older: str) -> None:
        """These parts from the older state, the others from the newer."""
        for part in self.PARTS:
            shutil.rmtree(self._node.directory / part, ignore_errors=True)
            name = "older" if part in older else "newer"
            shutil.copytree(self._node.place / f"{name}-{part}", self._node.directory / part)


@pytest.fixture(scope="module")
def restored() -> Iterator[tuple[Watched, Copies]]:
    """Stopped; its log went on after the copies were taken, and its witnesses saw it."""
    with watched() as found:
        witnessed(found, sign(found.node, 3, "before"))
        found.node.stop("serve")
        found.node.stop("signer")
        copies = Copies(found.node)
        copies.take("older")
        found.start()
        witnessed(found, sign(found.node, 3, "after"))
        found.node.stop("serve")
        found.node.stop("signer")
        copies.take("newer")
        yield found, copies


@pytest.mark.parametrize(
    ("parts", "reason"),
    [(("data",), "LOG_BEHIND_MARK"), (("signer",), "MARK_BEHIND_LOG"), (("data", "signer"), "WITNESS_AHEAD")],
)
def test_an_older_copy_is_refused(restored: tuple[Watched, Copies], parts: tuple[str, ...], reason: str) -> None:
    """Of the directory, of the mark: the other says so. Of both: a witness does. Exit 3, and no head beyond."""
    found, copies = restored
    copies.put_back(*parts)
    heads = [one.heads.copy() for one in found.witnesses]
    journal = {path.name: path.read_bytes() for path in (found.node.log_directory / "journal").iterdir()}
    found.node.start("signer")
    done = found.node.run("serve")
    found.node.stop("signer")

    assert (done.returncode, reason in done.stderr) == (DAMAGED, True), done.stderr
    assert heads == [one.heads for one in found.witnesses]  # nothing that nobody had seen was shown
    assert journal == {path.name: path.read_bytes() for path in (found.node.log_directory / "journal").iterdir()}


def test_a_new_log_under_an_old_name_is_refused(restored: tuple[Watched, Copies]) -> None:
    """Directory and mark are gone altogether: nothing is served, for the witnesses know the name."""
    found, _ = restored
    for part in Copies.PARTS:
        shutil.rmtree(found.node.directory / part)
    found.node.start("signer")
    done = found.node.run("serve")
    found.node.stop("signer")

    assert (done.returncode, "WITNESS_AHEAD" in done.stderr) == (DAMAGED, True), done.stderr
    assert '"event": "serving"' not in done.stderr


class SetBack:
    """The machine's clock, a minute back."""

    def now_ns(self) -> int:
        """Unix time."""
        return time.time_ns() - 60 * 1_000_000_000

    def monotonic_ns(self) -> int:
        """Goes on."""
        return time.monotonic_ns()


def test_a_clock_set_back_is_refused(restored: tuple[Watched, Copies], monkeypatch: pytest.MonkeyPatch) -> None:
    """To before the last checkpoint: exit 4, CLOCK_BEHIND."""
    found, copies = restored
    copies.put_back()
    monkeypatch.setattr(serve, "SystemClock", SetBack)
    monkeypatch.setattr(p11, "harden_process", lambda: None)  # it would be this test's process
    with pytest.raises(CannotStart) as caught:
        serve.run_serve(found.node.config, as_json=False)

    assert caught.value.reason == "CLOCK_BEHIND"


def _ended(node: Node) -> int | None:
    return node.children["serve"].process.poll()


def test_a_clone_on_a_second_host_is_caught() -> None:
    """The same keys and history twice, both go on: the second that shows a head stops, though its log is longer."""
    with watched() as found, Node(start=False) as clone:
        witnessed(found, sign(found.node, 3, "together"))
        found.node.stop("serve")
        found.node.stop("signer")
        shutil.rmtree(clone.directory)
        shutil.copytree(found.node.directory, clone.directory)
        _move(clone, found.node)
        clone.start("signer")  # before its twin goes on: the witnesses find nothing wrong with it
        clone.start("serve")
        found.start()
        witnessed(found, sign(found.node, 3, "here"))
        with clone.client(attempts_max=1) as client:
            for number in range(9):
                try:
                    client.sign(hashlib.sha256(b"there %d" % number).digest(), line=PROOF)
                except SealpressError:
                    break
        end = time.monotonic() + 10
        while _ended(clone) is None:
            assert time.monotonic() < end
            time.sleep(0.02)

        assert (_ended(clone), _ended(found.node)) == (DAMAGED, None)
        assert "WITNESS_AHEAD" in clone.words or "WITNESS_DISAGREES" in clone.words
        sign(found.node, 1, "the first goes on")


def _move(clone: Node, original: Node) -> None:
    """Paths that name a directory."""
    for path in (clone.directory / "token" / "softhsm2.conf", clone.config):
        path.write_text(path.read_text().replace(str(original.directory), str(clone.directory)))


def test_a_held_line_never_signs_two_histories() -> None:
    """A clone whose line is held, all witnesses honest: of each size the quorum has cosigned one root, and no other."""
    with watched(PROOF, hold_s_max=2) as found, Node(start=False) as clone:
        sign(found.node, 2, "together")
        found.node.stop("serve")
        found.node.stop("signer")
        shutil.rmtree(clone.directory)
        shutil.copytree(found.node.directory, clone.directory)
        _move(clone, found.node)
        clone.start("signer")
        clone.start("serve")
        found.start()
        sign(found.node, 2, "here")
        with clone.client(attempts_max=1, timeout_s=10) as client, pytest.raises(SealpressError):
            client.sign(hashlib.sha256(b"there").digest(), line=PROOF)

        roots: dict[int, set[bytes]] = {}
        for one in found.witnesses:
            for _, size, root in one.seen:
                roots.setdefault(size, set()).add(root)
        assert all(len(seen) == 1 for seen in roots.values())


def test_a_second_start_on_one_directory_is_refused() -> None:
    """A second signer on the same state: exit 4; the first pair goes on. (Of serve: test_start_errors.py.)"""
    with watched() as found:
        second = found.node.run("signer")
        sign(found.node, 1, "on")

    assert second.returncode == CANNOT_START, second.stderr


def test_a_witness_that_is_away_stops_nobody() -> None:
    """At the start and while running: nothing is refused on a line without hold; it is told, and asked again."""
    with watched(start=False) as found:
        found.witnesses[2].close()
        found.start()
        sign(found.node, 1, "alone")
        end = time.monotonic() + 10
        while '"reason": "WITNESS_DOWN"' not in found.node.words:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert _ended(found.node) is None
