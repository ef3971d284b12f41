"""What the compiler was asked for when the core was built, as the extension itself shows it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

import pytest

from sealpress.core.p11 import own_path


@pytest.mark.skipif("SEALPRESS_SANITIZED" in os.environ, reason="the sanitizers check the same calls")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such functions")
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs binutils")
def test_calls_that_write_into_a_buffer_know_its_size() -> None:
    """Where the compiler knows a buffer, the C library is asked with the check of its bounds; frames have a canary."""
    told = subprocess.run(["nm", "-D", own_path()], capture_output=True, text=True, check=True, timeout=60).stdout
    asked = {line.split()[-1].partition("@")[0] for line in told.splitlines()}

    assert {"__snprintf_chk", "__stack_chk_fail"} <= asked
