"""Do the C tests pass, plain and under both sanitizers, with warnings as errors; and on a processor of another kind?"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(variant: str, build: Path) -> str:
    """What `make -C csrc <variant>` prints; it ends well."""
    # A sanitizer that was loaded into this process is none of the compiler's business.
    environment = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "ASAN_OPTIONS"}}
    command = ["make", "-s", "-j2", "-C", str(ROOT / "csrc"), variant, f"BUILD={build}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("variant", ["test", "asan", "ubsan"])
def test_native_programs(variant: str, build: Path) -> None:
    """`make -C csrc <variant>` builds every file of the core without a warning and every program ends well."""
    printed = make(variant, build)

    assert printed.count("ok, ") == len(list((ROOT / "tests" / "native").glob("test_*.c")))


@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64-static")),
    reason="no cross compiler or emulator for ARMv8 here; make test-arm installs them",
)
def test_hashing_on_arm(build: Path) -> None:
    """The core builds for ARMv8 without a warning, and its kernels agree on processors with and without SHA-512."""
    printed = make("arm-digest", build).splitlines()

    features = [line for line in printed if line.startswith("features:")]
    assert features == ["features: crc32 sha2 sha512", "features: crc32 sha2"]
    assert sum(line.startswith("ok, ") for line in printed) == 4
