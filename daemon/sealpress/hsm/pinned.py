"""The signer's own TrustAnchors: read from its configuration, pinned in its state, never older than they were.

The first document is signed by all of its officers, every later one by the thresholds of both it and the one before.
What was pinned stays: a file that is older than the pinned document changes nothing.

Guarantees: anchors that exist were verified along the whole chain that this signer saw. Does not: read the governance
log, or believe what `serve` says about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealpress.config import Signer
from sealpress.errors import ConfigError, Damaged, Invalid
from sealpress.reading import read_whole
from sealpress.verify import anchors as rules
from sealpress.verify.anchors import Release, TrustAnchors
from sealpress.verify.change import ChangeRecord
from sealpress.verify.evidence import Evidence

FILE_BYTES_MAX = rules.DOCUMENT_BYTES_MAX
_END = "-----END SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class Pinned:
    """Anchors in force at this signer, and what they decide."""

    anchors: TrustAnchors

    def release(self, evidence: Evidence, line: str, now: int) -> Release:
        """What the line's quorum approved, as it stood at that time; Invalid if it did not."""
        return rules.open_release(self.anchors, evidence.change, evidence.approvals, line, now)

    def lift(self, evidence: Evidence, key: str, line: str, now: int) -> ChangeRecord:
        """The change by which the line's quorum lets this key sign again; Invalid if it did not."""
        return rules.check_lift(self.anchors, evidence.change, evidence.approvals, key, line, now)


class Pins(Protocol):
    """Where the newest document is kept: the signer's State, or nowhere (a custodian verifies the chain each time)."""

    def anchors(self) -> tuple[bytes, tuple[str, ...]] | None:
        """What was pinned last."""
        ...

    def pin_anchors(self, document: bytes, signatures: tuple[str, ...]) -> None:
        """Durable when this returns."""
        ...


class NoPins:
    """Nothing is remembered."""

    def anchors(self) -> None:
        """Never anything."""

    def pin_anchors(self, document: bytes, signatures: tuple[str, ...]) -> None:
        """Forgotten."""


def load_anchors(settings: Signer, path_of: Callable[[str], Path], state: Pins) -> Pinned | None:
    """The newest version of what is pinned and what the configuration names; None without `[signer] anchors`."""
    if not settings.anchors:
        return None
    current = _pinned(state)
    offered = [(files.document, files.signatures) for files in settings.anchors_earlier]
    for document, signatures in (*offered, (settings.anchors, settings.anchors_signatures)):
        body = _read(path_of(document))
        armors = tuple(armor for name in signatures for armor in split_armors(_read(path_of(name)).decode()))
        current = _next(current, document, body, armors, state)
    assert current is not None
    return Pinned(current)


def _pinned(state: Pins) -> TrustAnchors | None:
    held = state.anchors()
    if held is None:
        return None
    try:
        return rules.parse(held[0])
    except Invalid as error:
        raise Damaged(f"the pinned anchors cannot be read: {error.message}", reason="SIGNER_STATE") from None


def _next(current: TrustAnchors | None, name: str, body: bytes, armors: tuple[str, ...], state: Pins) -> TrustAnchors:
    """The newer of both; what is newer than the pinned one is verified and pinned."""
    try:
        found = rules.parse(body)
        if current is not None and found.version <= current.version:
            if found.version == current.version and found != current:
                raise Invalid(f"another version {found.version} is pinned at this signer", reason="ANCHORS_DIFFER")
            return current
        if current is None:
            rules.verify_genesis(body, armors)
        else:
            rules.verify_next(current, body, armors)
    except Invalid as error:
        raise ConfigError(
            f"[signer] anchors: {name}: {error.message}",
            hint=error.hint
            or "version 1 wants the signatures of all officers, each later one those of both "
            "thresholds; name versions in between in [[signer.anchors_earlier]]",
        ) from None
    state.pin_anchors(body, armors)
    return found


def split_armors(text: str) -> list[str]:
    """The armored signatures of a file, each with its newline."""
    return [part.lstrip("\n") + _END + "\n" for part in text.split(_END)[:-1]]


def _read(path: Path) -> bytes:
    try:
        data = read_whole(path, FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"[signer] anchors: {path}: {error.strerror}") from None
    if not data.isascii():
        raise ConfigError(f"[signer] anchors: {path}: not a document or signature of this kind")
    return data
