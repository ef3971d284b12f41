"""Builds the extension `sealpress.core._native` (cffi API mode, stable ABI).

The boundary is one text: `sp_api.h` is compiled by C through `sp.h` and read by cffi here, so the two cannot drift.
Switches, all environment variables: SEALPRESS_SANITIZE=1 (address and undefined behaviour), SEALPRESS_WERROR=1.
"""

from __future__ import annotations

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def _flags() -> tuple[list[str], list[str]]:
    compile_args = ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-fno-strict-aliasing", "-fstack-protector-strong"]
    # A frame of 64 KiB would step over the guard page of a thread's stack.
    compile_args.append("-fstack-clash-protection")
    link_args = ["-pthread", "-Wl,-z,relro,-z,now,-z,noexecstack"]
    if os.environ.get("SEALPRESS_WERROR"):
        compile_args.append("-Werror")
    if os.environ.get("SEALPRESS_SANITIZE"):
        sanitize = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined"]
        compile_args += [*sanitize, "-O1", "-g"]
        link_args += sanitize
    else:  # which would hide from a sanitizer what it sees better
        compile_args += ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    return compile_args, link_args


_compile_args, _link_args = _flags()

ffi = FFI()
ffi.cdef((HERE / "sp_api.h").read_text())
ffi.set_source(
    "sealpress.core._native",
    '#include "sp.h"',
    sources=sorted(str(path.relative_to(ROOT)) for path in HERE.glob("sp_*.c")),
    depends=sorted(str(path.relative_to(ROOT)) for path in HERE.glob("*.h")),
    include_dirs=[str(HERE.relative_to(ROOT))],
    extra_compile_args=_compile_args,
    extra_link_args=_link_args,
    libraries=["dl", "pthread"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
