"""The signer's log keys, PINs and state: who else reads the ones, or writes into the other?

Guarantees: each that is open to more than its owner is named at the start. Does not: refuse them, for a signer that
ran yesterday must start after an upgrade; or look into access lists: of a file of another owner, as systemd hands out
its credentials, only what everybody may counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from sealpress.config import Config

_log = logging.getLogger(__name__)
_GROUP, _OTHERS = 0o070, 0o007
_WRITERS = 0o022


def warn_of_exposed(config: Config, path_of: Callable[[str], Path]) -> None:
    """Say of each file with a secret that others can read, what to do about it."""
    for where, path in _secrets(config, path_of):
        readers = exposed(path)
        if readers:
            _log.warning("%s: %s can read %s: chmod 600, and take what it holds for known", where, readers, path)
    state = path_of(config.signer.state)
    if state.exists() and state.stat().st_mode & _WRITERS:
        _log.warning("[signer] state: others can write into %s, and have a stop forgotten: chmod 700", state)


def exposed(path: Path) -> str:
    """Who else can read or write it; empty if nobody, or if it is not there: whoever needs it says so."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if status.st_mode & _OTHERS:
        return "every user"
    return "its group" if status.st_mode & _GROUP and status.st_uid == os.geteuid() else ""


def _secrets(config: Config, path_of: Callable[[str], Path]) -> Iterable[tuple[str, Path]]:
    for id_, log in config.log.items():
        yield f"[log.{id_}] key", path_of(log.key)
    for id_, slot in config.slot.items():
        if slot.pin_file:
            yield f"[slot.{id_}] pin_file", path_of(slot.pin_file)
