"""The counting PKCS#11 module: built once per test run, its counters read through shared memory."""

from __future__ import annotations

import mmap
import re
import struct
import subprocess
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1024
_U64 = struct.Struct("<Q")
_SIGN_DELAY = 68 * 8
_INITIALIZE_FLAGS = 69 * 8


def functions() -> list[str]:
    """Names of the functions in the order of the table, from our own header."""
    text = (ROOT / "csrc" / "sp_pkcs11.h").read_text()
    return re.findall(r"^\s+X\((C_\w+),", text, re.MULTILINE)


def build(directory: Path) -> Path:
    """Compile the shim; the path to give as `module` of a slot."""
    target = directory / "libshim.so"
    source = ROOT / "tests" / "native" / "shim.c"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{ROOT / 'csrc'}"]
    subprocess.run(["cc", *flags, "-o", str(target), str(source), "-ldl"], check=True)
    return target


class Counters:
    """What the shim saw, in any process that loads it with `env`."""

    def __init__(self, path: Path, module: str) -> None:
        """A fresh page; `module` is the real module."""
        path.write_bytes(bytes(SIZE))
        self.env = {"SEALPRESS_SHIM_COUNTERS": str(path), "SEALPRESS_SHIM_MODULE": module}
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), SIZE)
        self._at = {name: position for position, name in enumerate(functions())}

    def __getitem__(self, function: str) -> int:
        """How often it was called: counters["C_Sign"]."""
        return int(_U64.unpack_from(self._page, 8 * self._at[function])[0])

    @property
    def initialize_flags(self) -> int:
        """Flags of the last C_Initialize; all ones if it had no arguments."""
        return int(_U64.unpack_from(self._page, _INITIALIZE_FLAGS)[0])

    def delay_sign(self, microseconds: int) -> None:
        """Every C_Sign takes so much longer from now on."""
        _U64.pack_into(self._page, _SIGN_DELAY, microseconds)

    def close(self) -> None:
        """Unmap."""
        self._page.close()

    def __enter__(self) -> Counters:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unmap."""
        self.close()
