"""A disk that fails on order (tests/native/fault_disk.c), built with the machine's compiler and put under the core."""

from __future__ import annotations

import atexit
import ctypes
import errno
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from sealpress.core._native import ffi, lib

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (
    "open", "close", "size", "allocate", "truncate", "pread", "pwrite", "sync", "sync_all", "map", "map_at",
    "unmap", "lock", "rename", "unlink", "mkdir", "sync_dir", "list", "traits",
)  # fmt: skip


@cache
def _library() -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp(prefix="sealpress-fault-disk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "fault_disk.so"
    command = ["cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, "-o", str(target), str(ROOT / "tests/native/fault_disk.c")], check=True)
    library = ctypes.CDLL(str(target))
    library.test_disk.restype = ctypes.c_void_p
    library.test_disk.argtypes = [ctypes.c_void_p]
    library.test_disk_calls.restype = ctypes.c_uint64
    library.test_disk_fail.argtypes = [ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.test_disk_delay.argtypes = [ctypes.c_int, ctypes.c_uint64]
    library.test_disk_bend.argtypes = [ctypes.c_uint64]
    return library


class FaultDisk:
    """The real disk with faults. One at a time: a new one starts without any."""

    def __init__(self) -> None:
        """Builds the library on first use."""
        self._library = _library()
        self._library.test_disk_reset()
        wrapped = int(ffi.cast("uintptr_t", lib.sp_disk_linux()))
        self.address: int = self._library.test_disk(wrapped)

    def fail(
        self, operation: str, nth: int = 1, error: int = errno.EIO, *, done: bool = False, forever: bool = False
    ) -> None:
        """The `nth` call from now on answers `error`, after doing its work if `done`; later ones too if `forever`."""
        self._library.test_disk_fail(OPERATIONS.index(operation), nth, error, int(done), int(forever))

    def heal(self, operation: str) -> None:
        """Takes the fault away."""
        self.fail(operation, 0)

    def delay(self, operation: str, ns: int) -> None:
        """Every call takes that much longer."""
        self._library.test_disk_delay(OPERATIONS.index(operation), ns)

    def calls(self, operation: str) -> int:
        """Calls so far."""
        return int(self._library.test_disk_calls(OPERATIONS.index(operation)))

    def traits(self, traits: int) -> None:
        """What the file system says of itself: 1 mapped writes are safe, 2 volatile."""
        self._library.test_disk_traits(traits)

    def bend(self, nth: int) -> None:
        """The `nth` pwrite from now on writes its bytes with one bit flipped."""
        self._library.test_disk_bend(nth)
