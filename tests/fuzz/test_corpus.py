"""Does every input that a fuzzer once found interesting still keep what its target promises?

`make fuzz` runs the targets ten million times each; this replays what it has kept, with any compiler and without
libFuzzer or atheris.
"""

from __future__ import annotations

import os
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"
IN_C = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
IN_PYTHON = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
CORPUS_BYTES_MAX = 300 << 10


def corpus(target: str) -> list[Path]:
    """Its inputs."""
    return sorted((HERE / "corpus" / target).iterdir())


@pytest.fixture(scope="module")
def programs() -> Path:
    """The C targets, built under AddressSanitizer and UBSan; only what changed is built again."""
    kept = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "ASAN_OPTIONS"}}
    command = ["make", "-s", "-j2", "-C", str(HERE), "programs", f"BUILD={BUILD}"]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return BUILD / "plain"


@pytest.mark.parametrize("target", IN_C)
def test_the_corpus_of_a_c_target(target: str, programs: Path) -> None:
    """No crash, no undefined behaviour, no broken promise, no leak."""
    kept = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "ASAN_OPTIONS"}}
    inputs = corpus(target)
    done = subprocess.run(
        [programs / target, *inputs], env=kept, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ok, {len(inputs)} inputs\n"


@pytest.mark.parametrize("target", IN_PYTHON)
def test_the_corpus_of_a_python_target(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised but what the parser means to raise."""
    monkeypatch.syspath_prepend(str(HERE))
    one_input = import_module(f"fuzz_{target}").one_input

    for path in corpus(target):
        one_input(path.read_bytes())


@pytest.mark.parametrize("target", IN_C + IN_PYTHON)
def test_a_target_has_what_a_run_needs(target: str) -> None:
    """A corpus, which is small and in no two places, and a dictionary."""
    inputs = corpus(target)

    assert inputs
    assert (HERE / f"{target}.dict").is_file()
    assert sum(path.stat().st_size for path in (HERE / "corpus").rglob("*") if path.is_file()) < CORPUS_BYTES_MAX
    assert len({path.read_bytes() for path in inputs}) == len(inputs)
