"""Our count of a key's operations against the token's: exact where it can be, never an alarm where it cannot."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from kit.clock import VirtualClock
from kit.entropy import SeededEntropy
from sealpress.errors import Damaged
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.keytable import KeyTable
from sealpress.hsm.operations import Operations
from sealpress.hsm.state import State
from sealpress.telemetry import Telemetry


class Desk:
    """Counts on a real state directory, and a token that counts."""

    def __init__(self, directory: Path) -> None:
        """Everything new but the directory."""
        self.state = State(directory, SeededEntropy())
        self._stream = io.StringIO()
        self.telemetry = Telemetry(VirtualClock(), self._stream)
        self.counts = Operations(self.state, self.telemetry)
        self.token = 1_000

    def sign(self, count: int = 1) -> int:
        """All goes well; the number of the first."""
        number = self.counts.begin("s", "k", count)
        self.token += count
        self.counts.end("s", "k", count, count)
        return number

    def compare(self) -> str:
        """What the token says otherwise."""
        self.counts.ask("s", "k")
        self.counts.compare("s", "k", self.token)
        return self.counts.differs("s", "k")

    def end(self, *, killed: bool = False) -> None:
        """The process ends."""
        if not killed:
            self.counts.keep(closed=True)
        self.state.close()

    @property
    def events(self) -> list[str]:
        """What was told."""
        return [json.loads(line)["event"] for line in self._stream.getvalue().splitlines()]


def test_they_agree_as_long_as_nobody_else_signs(tmp_path: Path) -> None:
    """Across comparisons and a restart; one operation that is not ours is a difference, told once, until it is gone."""
    desk = Desk(tmp_path / "s")
    assert desk.compare() == ""
    assert [desk.sign(), desk.sign(3), desk.sign()] == [1, 2, 5]
    assert desk.compare() == ""
    desk.end()
    again = Desk(tmp_path / "s")
    again.token = desk.token
    assert again.sign() == 6
    assert again.compare() == ""
    again.token += 1
    assert "counts 1" in again.compare()
    assert again.compare()
    assert again.events == ["operations_differ"]


def test_a_token_that_counts_less_is_told_too(tmp_path: Path) -> None:
    """A signature that the token does not know of was made elsewhere, or its count was set back."""
    desk = Desk(tmp_path / "s")
    desk.compare()
    desk.sign()
    desk.token = 0

    assert desk.compare()


def test_what_is_uncertain_is_no_difference(tmp_path: Path) -> None:
    """An operation that failed may have been counted or not, and so may one that is under way."""
    desk = Desk(tmp_path / "s")
    desk.compare()
    for counted in (0, 1):
        desk.counts.begin("s", "k", 1)
        desk.counts.end("s", "k", 1, 0)
        desk.token += counted
        assert desk.compare() == ""
    desk.sign()
    desk.counts.begin("s", "k", 2)
    desk.token += 1
    assert desk.compare() == ""
    desk.token += 1
    desk.counts.end("s", "k", 2, 2)
    assert desk.compare() == ""
    desk.token += 1
    assert desk.compare()


def test_an_answer_to_an_earlier_question_is_no_difference(tmp_path: Path) -> None:
    """Asked again before it answered, a token may tell what it counted the first time."""
    desk = Desk(tmp_path / "s")
    desk.compare()
    desk.counts.ask("s", "k")
    answered = desk.token
    desk.sign(5)
    desk.counts.ask("s", "k")
    desk.counts.compare("s", "k", answered)
    desk.counts.compare("s", "k", desk.token)
    assert desk.compare() == ""
    assert desk.events == []


def test_counts_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    """A full disk ends no signer for its counts: it says so, and tries again with the next change."""
    desk = Desk(tmp_path / "s")
    accounts = Accounts(KeyTable({}, {}), {}, desk.state, desk.telemetry)
    accounts.begin("s", "k", 1)
    desk.state.directory.rename(tmp_path / "away")
    accounts.close()
    assert desk.events[-1] == "operations_not_kept"
    (tmp_path / "away").rename(desk.state.directory)
    accounts.close()
    assert desk.state.operations().keys["s\nk"].begun == 1


def test_a_killed_signer_begins_again(tmp_path: Path) -> None:
    """It does not know what it did last: it says so, and alarms nobody."""
    desk = Desk(tmp_path / "s")
    desk.compare()
    desk.sign(5)
    desk.end(killed=True)
    again = Desk(tmp_path / "s")
    again.token = desk.token

    assert again.events == ["operations_restarted"]
    assert again.compare() == ""
    again.token += 1
    assert again.compare()


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    """Without it no stop is forgotten: it may be moved away; of the stops the hint is another one."""
    desk = Desk(tmp_path)
    desk.end()
    (tmp_path / "operations").write_bytes(b"?")
    with pytest.raises(Damaged) as caught:
        Desk(tmp_path)
    assert "move it away" in caught.value.hint
