"""Ending a stop: by the quorum, after the stop, once, and not at once; and anchors that never get older."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kit.approving import Person
from kit.entropy import SeededEntropy
from kit.firmware import DAY_S, KEY, LINE, Office
from sealpress.config import AnchorsFiles, Signer
from sealpress.errors import Busy, ConfigError, Refusal
from sealpress.hsm import lifting, state
from sealpress.hsm.keytable import GuardKey
from sealpress.hsm.pinned import NoPins, Pinned, load_anchors, split_armors
from sealpress.hsm.state import State
from sealpress.values import KeyClass
from sealpress.verify.anchors import TrustAnchors
from sealpress.verify.evidence import Evidence

NOW = 1_800_000_000
OFFICE = Office(NOW)
GUARD_KEY = GuardKey(
    name=KEY, origin="o", line=LINE, class_=KeyClass.FIRMWARE, slots=("s1",), spki=b"", key_id=bytes(32), scope=b"",
    cka_id=b"\1", cka_label="", active=True, cosigner=None, line_key=None, scheme=None,
)  # fmt: skip


@pytest.fixture
def stops(tmp_path: Path) -> Iterator[State]:
    """A signer's state whose key was stopped 400 seconds ago."""
    held = State(tmp_path / "state", SeededEntropy())
    held.stop(KEY, NOW - 400)
    yield held
    with contextlib.suppress(OSError):  # a test may have closed it
        held.close()


def papers(created: int = NOW - 399, **other: Any) -> Evidence:
    """A resumption that the quorum approved."""
    return OFFICE.evidence(OFFICE.resume(created, **other), issued=NOW - 399)


def lift(held: State, evidence: Evidence, now: int = NOW, key: GuardKey = GUARD_KEY) -> None:
    """As the guard does it."""
    change = lifting.check(Pinned(OFFICE.document()), held, key, evidence, now, 300)
    held.lift(key.name, change.change_id, change.expires, now)


def test_a_lifted_stop_is_gone_for_good(stops: State) -> None:
    """Also after a restart; other stops stay."""
    stops.stop("other", NOW)
    lift(stops, papers())
    assert (stops.stopped(KEY), stops.stopped("other")) == (False, True)
    directory = stops.directory
    stops.close()
    again = State(directory, SeededEntropy())
    assert (again.stopped(KEY), again.stopped("other")) == (False, True)
    assert again.lifted("01JD8W6Q2N0K3M7T9V5X1Z4B6C")
    again.close()


@pytest.mark.parametrize(
    ("evidence", "now", "reason"),
    [
        (lambda: papers(NOW - 401), NOW, "LIFT_STALE"),
        (lambda: papers(NOW + 100), NOW, "LIFT_STALE"),
        (papers, NOW - 101, "STOP_TOO_YOUNG"),
        (lambda: papers(key="another"), NOW, "RELEASE_CHANGE"),
        (lambda: papers(kind="sign.release"), NOW, "RELEASE_CHANGE"),
        (lambda: OFFICE.evidence(OFFICE.release(bytes(32))), NOW, "RELEASE_CHANGE"),
        (lambda: OFFICE.evidence(OFFICE.resume(NOW - 399), OFFICE.alice), NOW, "RELEASE_QUORUM"),
    ],
)
def test_a_stop_ends_only_by_what_is_about_it(stops: State, evidence: Any, now: int, reason: str) -> None:
    """Before it, from the future, too early, about another key, or by fewer persons: it stays."""
    with pytest.raises(Refusal) as caught:
        lift(stops, evidence(), now)
    assert caught.value.reason == reason
    assert stops.stopped(KEY)


@pytest.mark.parametrize(
    ("created", "now"), [(NOW - 400, NOW), (NOW - 10, NOW), (NOW + 60, NOW), (NOW - 399, NOW - 100)]
)
def test_a_stop_ends_by_papers_of_any_time_since_it(stops: State, created: int, now: int) -> None:
    """Of its own second, of a moment ago, of a clock that is ahead a little; and as soon as its 300 s are over."""
    lift(stops, OFFICE.evidence(OFFICE.resume(created), issued=created), now)

    assert not stops.stopped(KEY)


def test_a_change_record_lifts_once(stops: State) -> None:
    """Whatever is stopped later, and however the clock goes."""
    lift(stops, papers())
    stops.stop(KEY, NOW - 400)
    with pytest.raises(Refusal) as caught:
        lift(stops, papers())
    assert caught.value.reason == "LIFT_STALE"


def test_a_second_stop_makes_older_papers_void(stops: State) -> None:
    """Another person stopped it again meanwhile: he, too, has to be answered."""
    held = papers()
    stops.stop(KEY, NOW - 350)
    with pytest.raises(Refusal) as caught:
        lift(stops, held)
    assert caught.value.reason == "LIFT_STALE"


def test_without_anchors_nothing_is_lifted(stops: State) -> None:
    """Of no class: the signer cannot know who decided."""
    key = replace(GUARD_KEY, class_=KeyClass.TEST)
    with pytest.raises(Refusal) as caught:
        lifting.check(None, stops, key, papers(), NOW, 300)
    assert caught.value.reason == "NOT_PERMITTED"


def test_what_is_not_stopped_is_not_lifted(stops: State) -> None:
    """Nor is a stop of everything ended by lifting one key."""
    other = replace(GUARD_KEY, name="other")
    with pytest.raises(Refusal) as caught:
        lift(stops, papers(), key=other)
    assert caught.value.reason == "NOT_STOPPED"
    stops.stop(None, NOW - 400)
    lift(stops, papers())
    assert stops.stopped(KEY)


def test_the_memory_of_lifts_is_bounded(stops: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired ones are forgotten; when it is full of others it says so."""
    monkeypatch.setattr(state, "LIFTED_MAX", 3)
    for i in range(10):
        stops.lift("k", f"old{i}", NOW, NOW + i * 2 * DAY_S)
    for i in range(2):
        stops.lift("k", f"new{i}", NOW + 90 * DAY_S, NOW + 40 * DAY_S)
    stops.lift("k", "new2", NOW + 90 * DAY_S, NOW + 40 * DAY_S)
    with pytest.raises(Busy):
        stops.lift("k", "new3", NOW + 90 * DAY_S, NOW + 40 * DAY_S)


class Files:
    """A directory with anchors and their signatures."""

    def __init__(self, directory: Path) -> None:
        """Empty."""
        self.directory = directory

    def write(self, document: TrustAnchors, *by: Person) -> tuple[str, tuple[str, ...]]:
        """The names of the document and its one file of signatures."""
        raw, signatures = OFFICE.signed(document, by or OFFICE.officers)
        name = f"anchors-{document.version}-{len(by)}-{document.expires}.json"
        (self.directory / name).write_bytes(raw)
        (self.directory / f"{name}.sig").write_text("".join(signatures))
        return name, (f"{name}.sig",)

    def load(self, held: State | NoPins, newest: tuple[str, tuple[str, ...]], *earlier: Any) -> int:
        """The version in force."""
        settings = Signer(
            anchors=newest[0],
            anchors_signatures=newest[1],
            anchors_earlier=tuple(AnchorsFiles(document=name, signatures=files) for name, files in earlier),
        )
        found = load_anchors(settings, lambda name: self.directory / name, held)
        assert found is not None
        return found.anchors.version


def test_anchors_never_get_older(stops: State, tmp_path: Path) -> None:
    """Version by version, each verified; an older file changes nothing, another text of the same version is refused."""
    files = Files(tmp_path)
    one, two, three = (files.write(OFFICE.document(version)) for version in (1, 2, 3))
    with pytest.raises(ConfigError):
        files.load(stops, two)
    assert files.load(stops, one) == 1
    with pytest.raises(ConfigError):
        files.load(stops, three)
    assert files.load(stops, two) == 2
    assert files.load(stops, one) == 2
    assert files.load(stops, three) == 3
    with pytest.raises(ConfigError):
        files.load(stops, files.write(OFFICE.document(3, expires=NOW + DAY_S)))
    assert files.load(stops, three, one, two) == 3


def test_a_fresh_signer_verifies_the_whole_chain(tmp_path: Path) -> None:
    """Where nothing is pinned, the versions before are named; a gap or a missing signature is refused."""
    files = Files(tmp_path)
    one, two, three = (files.write(OFFICE.document(version)) for version in (1, 2, 3))
    assert files.load(NoPins(), three, one, two) == 3
    for chain in (
        (three, one),
        (three,),
        (three, two, one),
        (two, files.write(OFFICE.document(1), OFFICE.officers[0])),
    ):
        with pytest.raises(ConfigError) as caught:
            files.load(NoPins(), *chain)
        assert "anchors" in caught.value.message
    assert load_anchors(Signer(), lambda name: tmp_path / name, NoPins()) is None


def test_signature_files_may_hold_several() -> None:
    """One after the other, as `cat` puts them together; what is none is none."""
    _, signatures = OFFICE.signed(OFFICE.document())
    assert split_armors("".join(signatures)) == signatures
    assert split_armors("\n".join(signatures)) == signatures
    assert split_armors("nothing") == []
