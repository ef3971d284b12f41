"""The signer's own directory: its lock, stops, anchors, quarantined slots, and the PINs it must not try again.

Guarantees: one signer at a time uses a directory; what is written is on the disk before the call returns (temporary
file, fsync, rename, fsync of the directory). Does not: hold marks (mark.py), or a PIN: only its HMAC under a key that
stands beside it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from sealpress.core.names import sync_directory
from sealpress.errors import Busy, CannotStart, Damaged
from sealpress.ports import Entropy

T = TypeVar("T")
_TAG_BYTES = 32
_TAGS_MAX = 64  # per slot; the oldest go first
LIFTED_MAX = 4_096
_LIFTED_KEPT_S = 86_400  # beyond its expiry, in case the clock goes back
_ALL = ""
_PART = "+new"  # of a name that is being written: no slot is called so, for its name is quoted
_RESTORE = "restore the file; without it a stop could be forgotten"


class _Stops(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    all: bool = False
    keys: tuple[str, ...] = ()
    since: dict[str, int] = {}  # per key ("": all of them): Unix seconds of its newest stop
    lifted: dict[str, int] = {}  # change records that ended a stop, each once, until they expire


class _Pinned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    document: bytes
    signatures: tuple[str, ...]


class _Quarantine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str


class _Pins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: bytes
    rejected: dict[str, tuple[bytes, ...]]  # by slot


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Operations of one key on one slot (operations.py): begun, done for certain, and both when the token agreed."""

    begun: int = 0
    done: int = 0
    token: int | None = None  # its count then; None: it was not asked yet, or is none
    begun_then: int = 0
    done_then: int = 0


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of all keys; `closed`: whoever wrote them did nothing more."""

    closed: bool = True
    keys: dict[str, Count] = {}


def known_pins(directory: Path) -> tuple[bytes, dict[str, tuple[bytes, ...]]] | None:
    """Key of the tags and rejected tags by slot, for a reader that is not the signer; None: nothing can be read."""
    try:
        pins = msgspec.msgpack.decode((directory / "pins").read_bytes(), type=_Pins)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return pins.key, pins.rejected


class State:
    """The files of one signer."""

    def __init__(self, directory: Path, entropy: Entropy) -> None:
        """Takes the lock; CannotStart SIGNER_IN_USE if another signer has it, Damaged if a file cannot be decoded."""
        self.directory = directory
        self.entropy = entropy
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

    def stop(self, key: str | None, now: int = 0) -> None:
        """In force at once, whatever the disk says to it; durable when this returns, Damaged if it cannot be."""
        held = self._stops
        keys = held.keys if key is None or key in held.keys else (*held.keys, key)
        name = _ALL if key is None else key
        since = {**held.since, name: max(now, held.since.get(name, 0))}
        self._stops = _Stops(held.all or key is None, keys, since, held.lifted)
        self._write("stops", self._stops)

    def stopped_since(self, key: str) -> int | None:
        """When this key was stopped for the last time; None if it is not, by itself."""
        return self._stops.since.get(key, 0) if key in self._stops.keys else None

    def lifted(self, change_id: str) -> bool:
        """Whether this change record ended a stop before."""
        return change_id in self._stops.lifted

    def lift(self, key: str, change_id: str, expires: int, now: int) -> None:
        """End a key's stop by this change record, which never ends another; in force once durable, else Damaged."""
        held = self._stops
        lifted = {name: until for name, until in held.lifted.items() if until >= now - _LIFTED_KEPT_S}
        if len(lifted) >= LIFTED_MAX:
            raise Busy("too many stops were lifted lately", reason="LIFTED_FULL", retry_after_ms=3_600_000)
        keys = tuple(name for name in held.keys if name != key)
        stops = _Stops(held.all, keys, held.since, {**lifted, change_id: expires})
        self._write("stops", stops)
        self._stops = stops

    # ---- anchors ----

    def anchors(self) -> tuple[bytes, tuple[str, ...]] | None:
        """The TrustAnchors document that was pinned last, and its signatures."""
        held = self._read("anchors", _Pinned)
        return (held.document, held.signatures) if held is not None else None

    def pin_anchors(self, document: bytes, signatures: tuple[str, ...]) -> None:
        """From here on this document is the oldest that counts."""
        self._write("anchors", _Pinned(document, signatures))

    # ---- operations ----

    def operations(self) -> Counts:
        """As they were kept last."""
        hint = "move it away: keys are counted anew, and tokens compared from there on"
        return self._read("operations", Counts, hint) or Counts()

    def keep_operations(self, counts: Counts) -> None:
        """Durable when this returns."""
        self._write("operations", counts)

    # ---- PINs ----

    @property
    def tag_key(self) -> bytes:
        """Key of the tags."""
        return self._pins.key

    def rejected(self, slot: str) -> tuple[bytes, ...]:
        """Tags of the PINs that this slot's token rejected."""
        return self._pins.rejected.get(slot, ())

    def reject(self, slot: str, tag: bytes) -> None:
        """Remember that this PIN was rejected; what is no tag is nothing to remember."""
        known = self.rejected(slot)
        if len(tag) == _TAG_BYTES and tag not in known:
            kept = (*known, tag)[-_TAGS_MAX:]
            self._pins = _Pins(self._pins.key, {**self._pins.rejected, slot: kept})
            self._write("pins", self._pins)

    # ---- quarantines ----

    def quarantined(self, slot: str) -> bool:
        """Whether this slot must not sign until a person has taken the file away."""
        return self._quarantine(slot).exists()

    def quarantine(self, slot: str, reason: str) -> None:
        """Until a person takes the file away, across restarts; Damaged if it cannot be written."""
        self._write(self._quarantine(slot).name, _Quarantine(reason))

    def _quarantine(self, slot: str) -> Path:
        return self.directory / f"quarantine-{quote(slot, safe='')}"

    # ---- files ----

    def _read(self, name: str, kind: type[T], hint: str = _RESTORE) -> T | None:
        path = self.directory / name
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise  # another user's file, as after a start by root, is no damaged one, and must not be moved away
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Damaged(f"{path}: {error}", reason="SIGNER_STATE", hint=hint) from None

    def _write(self, name: str, value: msgspec.Struct) -> None:
        path, part = self.directory / name, self.directory / f"{name}{_PART}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                raw = msgspec.msgpack.encode(value)
                if os.write(descriptor, raw) != len(raw):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # never half a file under the name
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            part.rename(path)
            sync_directory(self.directory)
        except OSError as error:
            raise Damaged(
                f"{path}: {error.strerror}", reason="SIGNER_STATE", hint="permissions, and free space on its disk"
            ) from None
