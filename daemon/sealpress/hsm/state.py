"""The signer's own directory: its lock, its stops, the PINs it must not try again.

Guarantees: one signer at a time uses a directory; what is written is on the disk before the call returns (temporary
file, fsync, rename, fsync of the directory). Does not: hold marks (mark.py), or a PIN: only its HMAC under a key that
stands beside it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from sealpress.errors import CannotStart, Damaged
from sealpress.ports import Entropy

T = TypeVar("T")
_TAGS_MAX = 64  # per slot; the oldest go first


class _Stops(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    all: bool = False
    keys: tuple[str, ...] = ()


class _Pins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: bytes
    rejected: dict[str, tuple[bytes, ...]]  # by slot


class State:
    """The files of one signer."""

    def __init__(self, directory: Path, entropy: Entropy) -> None:
        """Takes the lock; CannotStart SIGNER_IN_USE if another signer has it, Damaged if a file cannot be read."""
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise CannotStart(
                f"{directory}: another signer uses this directory",
                reason="SIGNER_IN_USE",
                hint="stop it, or give this one a `state` of its own",
            ) from None
        self._stops = self._read("stops", _Stops) or _Stops()
        pins = self._read("pins", _Pins)
        if pins is None or len(pins.key) != 32:
            pins = _Pins(entropy.bytes(32), {})
            self._write("pins", pins)
        self._pins = pins

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._lock)

    # ---- stops ----

    def stopped(self, key: str) -> bool:
        """Whether this key must not sign."""
        return self._stops.all or key in self._stops.keys

    @property
    def stopped_all(self) -> bool:
        """Whether nothing may be signed, by the log keys neither."""
        return self._stops.all

    def stop(self, key: str | None) -> None:
        """In force at once, whatever the disk says to it; durable when this returns, Damaged if it cannot be."""
        keys = self._stops.keys if key is None or key in self._stops.keys else (*self._stops.keys, key)
        self._stops = _Stops(self._stops.all or key is None, keys)
        self._write("stops", self._stops)

    # ---- PINs ----

    @property
    def tag_key(self) -> bytes:
        """Key of the tags."""
        return self._pins.key

    def rejected(self, slot: str) -> tuple[bytes, ...]:
        """Tags of the PINs that this slot's token rejected."""
        return self._pins.rejected.get(slot, ())

    def reject(self, slot: str, tag: bytes) -> None:
        """Remember that this PIN was rejected."""
        known = self.rejected(slot)
        if tag and tag not in known:
            kept = (*known, tag)[-_TAGS_MAX:]
            self._pins = _Pins(self._pins.key, {**self._pins.rejected, slot: kept})
            self._write("pins", self._pins)

    # ---- files ----

    def _read(self, name: str, kind: type[T]) -> T | None:
        path = self.directory / name
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise Damaged(
                f"{path}: {error}", reason="SIGNER_STATE", hint="restore the file; without it a stop could be forgotten"
            ) from None

    def _write(self, name: str, value: msgspec.Struct) -> None:
        path, part = self.directory / name, self.directory / f"{name}.new"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, msgspec.msgpack.encode(value))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            part.rename(path)
            sync_directory(self.directory)
        except OSError as error:
            raise Damaged(f"{path}: {error.strerror}", reason="SIGNER_STATE", hint="free space on its disk") from None


def sync_directory(directory: Path) -> None:
    """Make a rename or a new file durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
