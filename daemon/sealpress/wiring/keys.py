"""The keys that a node's configuration pins: compared with the signer's, and made the lines that sign with them.

Guarantees: no line signs with a key that the signer's configuration does not give it too. Does not: hold private keys,
or say which key of a line is active on a governed node (the governance log does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealpress.config import HELD, Config, KeySection
from sealpress.core import leaf
from sealpress.errors import CannotStart, ConfigError, Invalid
from sealpress.hsm.status import SignerStatus
from sealpress.reading import read_whole
from sealpress.steps._ticket import Line, LogState
from sealpress.telemetry import Telemetry
from sealpress.values import Mode
from sealpress.verify import note


class NodeKeys:
    """The public keys of [key.*] and [log.*]; a file is read when it is asked for."""

    def __init__(self, config: Config, path_of: Callable[[str], Path], telemetry: Telemetry) -> None:
        """`path_of` resolves a path of the configuration."""
        self._config = config
        self._path_of = path_of
        self._telemetry = telemetry

    def compare(self, status: SignerStatus | None) -> None:
        """CannotStart SIGNER_DIFFERS where the signer has another key under the name of one of ours."""
        for id_, log in self._config.log.items():
            mark = status.logs.get(f"{log.name}/{log.number}") if status is not None else None
            if mark is not None and mark.key_id and mark.key_id != self._log_key(id_).key_id:
                raise _differs(f"[log.{id_}] public_key is another key at the signer")
        for id_, section in self._config.key.items():
            known = status.keys.get(id_) if status is not None else None
            if known is None:
                continue
            if known.held != (section.hold == HELD):
                raise _differs(f"[key.{id_}] hold is not what the signer's configuration says")
            if self._is_there(section) and known.key_id != leaf.key_id(self._public(section.public_key)):
                raise _differs(f"[key.{id_}] is another key at the signer")

    def lines(self, logs: Mapping[str, LogState]) -> list[Line]:
        """Every key that may sign, as a line of its log, in the order of the configuration."""
        found: list[Line] = []
        for id_, section in self._config.key.items():
            if section.state == "verify_only":
                continue
            if not self._is_there(section):
                self._telemetry.key_unusable(id_, f"{section.public_key} is not there yet")
                continue
            spki = self._public(section.public_key)
            log = logs[section.log]
            vkey = note.line_key(f"{log.log.name}/{section.line}", spki).vkey if section.mode is Mode.PROOF else ""
            line = Line(section.line, id_, section, spki, leaf.key_id(spki), vkey, log)
            log.lines.append(line)
            found.append(line)
        return found

    def log_vkey(self, id_: str) -> str:
        """The verifier key of [log.<id>]; ConfigError if it is no Ed25519 key."""
        return self._log_key(id_).vkey

    def _log_key(self, id_: str) -> note.LogKey:
        section = self._config.log[id_]
        key = note.public_key(self._public(section.public_key))
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"[log.{id_}] public_key: a log key is Ed25519")
        return note.log_key(f"{section.name}/{section.number}", key.public_bytes_raw())

    def _is_there(self, section: KeySection) -> bool:
        """A governed key may stand in the configuration before the custodian has made it."""
        return section.state != "governed" or self._path_of(section.public_key).exists()

    def _public(self, value: str) -> bytes:
        """A PEM file as canonical SPKI; ConfigError if it cannot be read."""
        path = self._path_of(value)
        try:
            return note.canonical_spki(read_whole(path))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", hint="public_key is a PEM file") from error
        except Invalid as error:
            raise ConfigError(f"{path}: {error.message}", hint="public_key is a PEM file") from error


def _differs(what: str) -> CannotStart:
    return CannotStart(
        what, reason="SIGNER_DIFFERS", hint="[log.*] and [key.*] must be as in the signer's configuration"
    )
