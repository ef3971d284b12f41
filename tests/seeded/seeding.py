"""Bugs put in on purpose: do the tests catch them?

Each `NN-name.patch` breaks one promise. Its header says what the bug would do, and which tests must fail:

    Bug: one sentence.
    Must-fail: tests/unit/...::test_name        (one or more; without [parameters] one of its cases must fail)

For each bug: a copy of the tree, the patch, the extension built again if csrc/ changed, those tests. Caught means that
every one of them failed in its own words; an error while building, importing or setting up is no catch.

    python tests/seeded/seeding.py [name ...]      all, or those whose names begin so; a table; exit 1 if one is missed
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OBJECTS = ROOT / "build" / "seeded"  # kept by the hash of all that they are made of
EXTENSION = Path("daemon/sealpress/core/_native.abi3.so")
FOLDERS = ("csrc", "daemon", "protos", "tests")
FILES = ("pyproject.toml", "setup.py", "Makefile", "README.md")
CFLAGS = ("-std=gnu11", "-O1", "-fPIC", "-fno-strict-aliasing", "-pthread", "-DPy_LIMITED_API=0x030b0000")
EMIT = "import runpy, sys; runpy.run_path('csrc/build_ffi.py')['ffi'].emit_c_code(sys.argv[1])"
PROBE = "import sysconfig; print(sysconfig.get_path('include'))"
NO_CATCH = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError")
# what runs long by itself is told to be short: a seeded bug is no rare one
SHORT = {"SEALPRESS_CRASH_IMAGES": "20000", "SEALPRESS_KILL_CYCLES": "10"}
SECONDS_MAX = 180


@dataclass(frozen=True)
class Bug:
    """One patch."""

    path: Path
    says: str
    must_fail: tuple[str, ...]
    files: tuple[str, ...]  # that it changes

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.stem


@dataclass(frozen=True)
class Verdict:
    """What came of it: caught if `missed` is empty."""

    bug: Bug
    missed: str
    seconds: float


def bugs() -> list[Bug]:
    """All, in order."""
    return [read(path) for path in sorted(HERE.glob("*.patch"))]


def read(path: Path) -> Bug:
    """A patch with its header; ValueError if it has none."""
    head, _, diff = path.read_text().partition("\ndiff --git ")
    says = re.findall(r"^Bug: (.+)$", head, re.MULTILINE)
    must_fail = re.findall(r"^Must-fail: (tests/\S+::\S+)$", head, re.MULTILINE)
    files = re.findall(r"^\+\+\+ b/(\S+)$", diff, re.MULTILINE)
    if len(says) != 1 or not must_fail or not files:
        raise ValueError(f"{path.name}: one line `Bug:`, lines `Must-fail:` and a diff are needed")
    return Bug(path, says[0], tuple(must_fail), tuple(files))


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the tree as it is, away from any repository; with the extension that stands here."""
    with tempfile.TemporaryDirectory(prefix="sp-seeded-") as place:
        tree = Path(place)
        leave = shutil.ignore_patterns("__pycache__", "build", "corpus", "_native.c", "*.egg-info")
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, tree / folder, ignore=leave)
        for file in FILES:
            if (ROOT / file).exists():
                shutil.copy2(ROOT / file, tree / file)
        yield tree


def apply(bug: Bug, tree: Path, *options: str) -> str:
    """`git apply`; what it says against it."""
    command = ["git", "apply", *options, str(bug.path)]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def judge(bug: Bug) -> Verdict:
    """Put it in and run its tests."""
    started = time.monotonic()
    with copied() as tree:
        missed = apply(bug, tree)
        if not missed and any(file.startswith("csrc/") for file in bug.files):
            build(tree)
        missed = missed or survived(tree, bug.must_fail)
    return Verdict(bug, missed, time.monotonic() - started)


def build(tree: Path) -> None:
    """The extension; CalledProcessError if it does not compile. Only what the bug changed is compiled."""
    OBJECTS.mkdir(parents=True, exist_ok=True)
    native = tree / "_native.c"
    _run([sys.executable, "-c", EMIT, str(native)], tree)
    include = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout.strip()
    flags = [*CFLAGS, f"-I{tree / 'csrc'}", f"-I{include}"]
    headers = b"".join(path.read_bytes() for path in sorted((tree / "csrc").glob("*.h")))
    sources = [*sorted((tree / "csrc").glob("sp_*.c")), native]
    with ThreadPoolExecutor(2) as workers:
        objects = list(workers.map(lambda source: _compiled(source, headers, flags), sources))
    _run(["cc", "-shared", "-pthread", "-o", str(tree / EXTENSION), *map(str, objects), "-ldl"], tree)


def _compiled(source: Path, headers: bytes, flags: Sequence[str]) -> Path:
    key = hashlib.sha256(" ".join(CFLAGS).encode() + headers + source.name.encode() + source.read_bytes()).hexdigest()
    target = OBJECTS / f"{key[:32]}.o"
    if not target.exists():
        part = OBJECTS / f"{key[:32]}.{os.getpid()}"
        _run(["cc", *flags, "-c", str(source), "-o", str(part)], source.parent)
        part.rename(target)
    return target


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])} …: {done.stderr[-2000:]}")


def survived(tree: Path, tests: Iterable[str]) -> str:
    """Which of these tests did not fail as they should; empty if all did."""
    failed, said = outcomes(tree, tests)
    missed = [test for test in tests if not any(_names(test, one) for one in failed)]
    return f"not failed: {', '.join(missed)}\n{said}" if missed else ""


def outcomes(tree: Path, tests: Iterable[str]) -> tuple[list[str], str]:
    """Test ids that failed by themselves, and the last words of pytest."""
    report = tree / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, **SHORT, "PYTHONPATH": str(tree / "daemon"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PATH"] = f"{scripts}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    if not report.exists():
        return [], done.stdout[-2000:] + done.stderr[-2000:]
    failed = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own pytest wrote it
        failure = case.find("failure")
        if failure is not None and not failure.get("message", "").startswith(NO_CATCH):
            failed.append(f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}")
    return failed, done.stdout[-2000:]


def _names(test: str, failed: str) -> bool:
    return failed == test or ("[" not in test and failed.startswith(test + "["))


def main(wanted: Sequence[str]) -> int:
    """The table; 0 if all are caught."""
    chosen = [bug for bug in bugs() if not wanted or bug.name.startswith(tuple(wanted))]
    tests = sorted({test for bug in chosen for test in bug.must_fail})
    with copied() as tree:
        failed, said = outcomes(tree, tests)
        if failed or " passed" not in said:
            print(f"without any bug: {said}")  # noqa: T201
            return 1
    missed = 0
    for bug in chosen:
        verdict = judge(bug)
        missed += bool(verdict.missed)
        print(f"{bug.name:44} {'MISSED' if verdict.missed else 'caught'} {verdict.seconds:6.1f} s  {bug.says}")  # noqa: T201
        if verdict.missed:
            print(verdict.missed)  # noqa: T201
        sys.stdout.flush()
    print(f"seeded: {len(chosen)} bugs, {len(chosen) - missed} caught, {missed} missed")  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
