"""What goes over the boundary beside buffers: numbers, hashes and paths as C takes them, and fields of its structs.

Guarantees: what does not fit is SP_E_ARGUMENT, as the core itself says of it, not an error of cffi. Does not: know what
a field means.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sealpress.core._native import ffi
from sealpress.core.status import check, statuses

_ARGUMENT = statuses()["SP_E_ARGUMENT"]
U64_MAX = (1 << 64) - 1


def u64(*values: int) -> None:
    """What C takes as numbers, sizes and times."""
    if not all(0 <= value <= U64_MAX for value in values):
        check(_ARGUMENT)


def bytes32(value: bytes) -> bytes:
    """Exactly 32 bytes."""
    if len(value) != 32:
        check(_ARGUMENT)
    return value


def c_path(path: Path) -> bytes:
    """The bytes that the system knows it by, in UTF-8 or not. A zero byte would end it early: there is none."""
    name = os.fsencode(path)
    if b"\0" in name:
        check(_ARGUMENT)
    return name


def c_fields(kind: type, source: Any) -> dict[str, Any]:
    """A C struct's fields by the names of a dataclass: arrays as bytes, flags as bool, numbers as they are."""
    out: dict[str, Any] = {}
    for name, annotation in kind.__annotations__.items():
        value = getattr(source, name)
        if annotation == "bytes":
            out[name] = bytes(ffi.buffer(value))
        else:
            out[name] = bool(value) if annotation == "bool" else int(value)
    return out
