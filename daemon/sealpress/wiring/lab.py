"""The laboratory's stand-in for FIDO2 keys: builds the library with which `ssh-keygen` makes `sk-` keys in software.

    provider = build_provider(directory)
    SSH_SK_PROVIDER=<provider> ssh-keygen -t ed25519-sk ...

Guarantees: the library is whole or absent; it says at each use that it is for a laboratory. Does not: protect anything:
see lab/sp_lab_sk.c. Only the profile `lab` is content with such keys above class `test`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sealpress.errors import CannotStart

SOURCE = Path(__file__).parents[1] / "lab" / "sp_lab_sk.c"
FLAGS = "SEALPRESS_LAB_SK_FLAGS"
COUNTER = "SEALPRESS_LAB_SK_COUNTER"
_BUILD_S = 60


def build_provider(directory: Path) -> Path:
    """Compile the library into this directory unless it is there; CannotStart without a compiler."""
    target = directory / "libsealpress-lab-sk.so"
    if target.exists():
        return target
    half = directory / f".{target.name}.{os.getpid()}"
    flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"]
    command = [os.environ.get("CC", "cc"), *flags, "-o", str(half), str(SOURCE), "-ldl"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_BUILD_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"{command[0]}: {error}", hint="install a C compiler (gcc)") from error
    if done.returncode:
        half.unlink(missing_ok=True)
        words = done.stderr.decode(errors="replace").strip()
        raise CannotStart(f"the laboratory's key library does not build: {words}", hint="install gcc and libc6-dev")
    half.rename(target)
    return target
