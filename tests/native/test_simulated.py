"""Does the log survive a disk that forgets, fails and rots? The programs on the simulated disk, and their judges."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kit.scripts import judge_image, write_script

ROOT = Path(__file__).resolve().parents[2]
IMAGES = int(os.environ.get("SEALPRESS_CRASH_IMAGES", "200000"))  # make crash
LOGS = int(os.environ.get("SEALPRESS_FLIPPED_LOGS", "0"))  # make flips
STEPS = 204  # four more than are cut: what survives the last cuts must go on, too
BITS, LENGTHS = 8 * 65536, 65536
HEADERS = 8192  # two copies of 4 KiB
SKIPPED, WHOLE, HEADER, CUT, REFUSED = range(5)  # enum flip_class


def run(*command: str, timeout_s: float = 900) -> str:
    """Its output; it must end well."""
    # A sanitizer that was loaded into this process is none of the program's business.
    environment = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "ASAN_OPTIONS"}}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def make(build: Path, target: str) -> str:
    """Builds, and what it printed."""
    return run("make", "-s", "-j2", "-C", str(ROOT / "csrc"), target, f"BUILD={build}")


@pytest.fixture(scope="module", name="programs")
def built_programs(build: Path) -> Path:
    """The folder of the programs, built plain."""
    make(build, "sim-build")
    return build / "plain"


@pytest.fixture(scope="module", name="script")
def written_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a daemon commits in 204 batches."""
    folder = tmp_path_factory.mktemp("script")
    write_script(folder / "script", folder / "log", STEPS)
    return folder / "script"


def judge_exported(folder: Path, at_least: int) -> None:
    """Every image by Python's recovery and check_log."""
    images = sorted(folder.iterdir(), key=lambda path: int(path.name))
    assert len(images) >= at_least
    for image in images:
        judge_image(image)


def test_every_power_cut_leaves_a_log_that_holds_what_was_acknowledged(
    programs: Path, script: Path, tmp_path: Path
) -> None:
    """Cut anywhere in 200 batches, nothing, all, one sector or any choice kept: all is there, and the log goes on."""
    (tmp_path / "images").mkdir()
    said = run(
        str(programs / "simtest_crash"), "--images", str(IMAGES), "--script", str(script),
        "--export", str(tmp_path / "images"), "150", timeout_s=IMAGES / 100 + 600,
    )  # fmt: skip
    sys.stdout.write(said)

    assert int(re.findall(r"ok, (\d+) images", said)[0]) >= IMAGES
    judge_exported(tmp_path / "images", 100)


def test_every_failing_call_of_the_disk_loses_nothing(programs: Path, script: Path, tmp_path: Path) -> None:
    """The k-th call of every operation fails, once and for ever, undone and done: what was acknowledged is there."""
    (tmp_path / "images").mkdir()
    said = run(
        str(programs / "simtest_faults"), "--every", "1", "--script", str(script),
        "--export", str(tmp_path / "images"), "60",
    )  # fmt: skip
    sys.stdout.write(said)

    assert int(re.findall(r"(\d+) met their fault", said)[0]) > 1000
    judge_exported(tmp_path / "images", 60)


class Layout:
    """A log of one segment: where each batch ends, and the tree size behind it."""

    def __init__(self, said: str) -> None:
        """From what the program printed."""
        batches = [(int(end), int(size)) for end, size in re.findall(r"batch (\d+) (\d+)", said)]
        self.ends = [end for end, _ in batches]
        self.sizes = [0] + [size for _, size in batches]
        self.batches = len(batches)

    def standing(self, length: int) -> int:
        """Batches that end within the first `length` bytes."""
        return sum(end <= length for end in self.ends)


def flipped(log: Layout, offset: int, mark: int) -> tuple[int, int]:
    """What one flipped bit means when the signer has seen the first `mark` leaves: its class, and the batches kept."""
    if offset < HEADERS:
        return HEADER, log.batches  # the other copy is whole
    hit = log.standing(offset)  # the number of the batch that it is in
    if hit == log.batches:
        return CUT, log.batches  # never written: zeroed and recorded
    if hit < log.batches - 1:
        return REFUSED, 0  # a valid COMMIT follows
    return tail_cut(log, hit, mark)


def cut_short(log: Layout, length: int, mark: int) -> tuple[int, int]:
    """What a file cut to `length` bytes means."""
    # Without a whole header copy nothing can be read; such a file is no segment yet.
    return tail_cut(log, log.standing(length) if length >= HEADERS // 2 else 0, mark)


def tail_cut(log: Layout, batches: int, mark: int) -> tuple[int, int]:
    """Only `batches` are left: cut back to the last COMMIT above the mark, refused below."""
    return (CUT, batches) if log.sizes[batches] >= mark else (REFUSED, 0)


def found(log: Layout, class_: int, batches: int, mark: int) -> tuple[int, int]:
    """What the journal said, and then the mark (tlog.begin.check_mark: fewer leaves than it are refused)."""
    if class_ == REFUSED or log.sizes[batches] < mark:
        return REFUSED, 0
    return class_, batches


@pytest.mark.parametrize("seed", range(4, 4 + max(1, LOGS)))
def test_every_flipped_bit_and_every_truncation_has_its_class(programs: Path, tmp_path: Path, seed: int) -> None:
    """All 524,288 flips and 65,536 lengths of a 64 KiB log, for a mark at nothing, in the middle and at the end."""
    repair = "1" if LOGS else "50"
    said = run(
        str(programs / "simtest_flips"), "--every", "1", "--repair", repair, "--seed", str(seed),
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    sys.stdout.write(said)
    log = Layout(said)
    classes = (tmp_path / "out").read_bytes()
    wrong = []

    assert len(classes) == 2 * (BITS + LENGTHS)
    assert log.batches >= 5
    for mark in (0, log.sizes[log.batches // 2], log.sizes[-1]):
        expected = [flipped(log, offset, mark) for offset in range(LENGTHS)]
        expected_short = [cut_short(log, length, mark) for length in range(LENGTHS)]
        for number, (class_, batches) in enumerate(zip(classes[::2], classes[1::2], strict=True)):
            right = expected[number // 8] if number < BITS else expected_short[number - BITS]
            if found(log, class_, batches, mark) != right:
                wrong.append((mark, number, class_, batches, right))
    assert wrong[:10] == []


@pytest.mark.parametrize("variant", ["sim-asan", "sim-ubsan"])
def test_the_programs_are_clean_under_sanitizers(variant: str, build: Path) -> None:
    """A small part of each, under AddressSanitizer and UndefinedBehaviorSanitizer."""
    assert make(build, variant).count("ok, ") == 3
