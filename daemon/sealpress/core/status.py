"""Turns a status of the C core into an exception, with the name and the text that the core itself gives.

Guarantees: every status other than SP_OK raises, also one that this build does not know.
Does not: decide what a status means for a request; callers match on `CoreError.name`.
"""

from __future__ import annotations

import os
from typing import Any

from sealpress.core._native import ffi, lib
from sealpress.errors import CoreError, VersionError

# The statuses after which errno says more. For all others it is whatever an earlier call left behind.
_WITH_ERRNO = frozenset({"SP_E_SYSTEM", "SP_E_LOCKED", "SP_E_FULL", "SP_E_FAILED", "SP_E_FILESYSTEM", "SP_E_PIN_FILE"})


def status_name(status: int) -> str:
    """`SP_E_BOUNDS`; `SP_E_UNKNOWN` for a number that no status has."""
    return str(ffi.string(lib.sp_status_name(status)).decode())


def status_text(status: int) -> str:
    """One sentence for people."""
    return str(ffi.string(lib.sp_status_text(status)).decode())


def statuses() -> dict[str, int]:
    """Every status that the core knows, by name."""
    codes = [int(lib.sp_status_at(position)) for position in range(lib.sp_status_count())]
    return {status_name(code): code for code in codes}


_VERSION = statuses()["SP_E_VERSION"]


def check(status: int) -> None:
    """Raises CoreError unless `status` is SP_OK. Call it at once: errno is read here."""
    if status == 0:
        return
    name = status_name(status)
    text = status_text(status)
    system_errno = int(ffi.errno) if name in _WITH_ERRNO else 0
    if system_errno:
        text = f"{text}: {os.strerror(system_errno)}"
    raise CoreError(status, name, text, system_errno)


def check_version(status: int, found: Any) -> None:
    """CoreError unless SP_OK; VersionError with what a state or header says of a later format."""
    if status == _VERSION:
        raise VersionError(status, status_name(status), status_text(status), int(found.version))
    check(status)
