"""Do the C tests pass, plain and under both sanitizers, with warnings as errors?"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("variant", ["test", "asan", "ubsan"])
def test_native_programs(variant: str, tmp_path: Path) -> None:
    """`make -C csrc <variant>` builds every file of the core without a warning and every program ends well."""
    # A sanitizer that was loaded into this process is none of the compiler's business.
    environment = {name: value for name, value in os.environ.items() if name not in {"LD_PRELOAD", "ASAN_OPTIONS"}}
    command = ["make", "-s", "-j2", "-C", str(ROOT / "csrc"), variant, f"BUILD={tmp_path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok, ") == len(list((ROOT / "tests" / "native").glob("test_*.c")))
