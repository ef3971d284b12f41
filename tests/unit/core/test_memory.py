"""The allocator is asked in its own range only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealpress.core.memory import share_heaps
from sealpress.errors import CoreError


@pytest.mark.parametrize("count", [0, 65])
def test_a_number_of_heaps_that_makes_no_sense_is_refused(count: int) -> None:
    """Nothing is asked of the C library."""
    with pytest.raises(CoreError) as refused:
        share_heaps(count)

    assert refused.value.name == "SP_E_ARGUMENT"


def test_an_allocator_that_knows_no_heaps_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """`share_heaps` asks: whatever stands in the place of glibc's allocator may refuse."""
    source = "int mallopt(int what, int value) { (void)what; (void)value; return 0; }"
    program = "from sealpress.core.memory import share_heaps; share_heaps(2)"
    library = str(tmp_path / "refuses.so")
    subprocess.run(["cc", "-xc", "-", "-shared", "-fPIC", "-o", library], input=source, text=True, check=True)
    before = os.environ.get("LD_PRELOAD", "")
    environment = {**os.environ, "LD_PRELOAD": f"{before}:{library}".strip(":")}

    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


@pytest.mark.skipif("SEALPRESS_SANITIZED" in os.environ, reason="ASan allocates in its own way")
def test_many_threads_share_two_heaps() -> None:
    """Sixteen threads that allocate at the same time have no heap but those two."""
    program = """
import re, threading
from ctypes import CDLL, c_size_t, c_void_p
from sealpress.core.memory import share_heaps
share_heaps(2)
c = CDLL(None)
c.malloc.restype, c.malloc.argtypes = c_void_p, [c_size_t]
together = threading.Barrier(16)
def allocate():
    together.wait()
    for _ in range(1_000):
        c.malloc(1_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
# a heap of a thread begins at a multiple of 64 MiB
starts = re.findall("^([0-9a-f]+)-[0-9a-f]+ rw-p 00000000 00:00 0 +$", open("/proc/self/maps").read(), re.M)
print(sum(1 for at in starts if int(at, 16) % (64 << 20) == 0))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert int(ran.stdout) <= 1
