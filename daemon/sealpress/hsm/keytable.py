"""The guard's own key table: which keys there are, whose they are, and what they may do. From its own configuration.

Guarantees: each key has one log, line, mode, format and scheme that go together; no public key appears twice, in any
role; a log key's file is the half of its pinned public key. Does not: know what is stopped or how far a key has signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from sealpress.config import Config, KeySection, LogSection
from sealpress.core import leaf
from sealpress.errors import ConfigError, Invalid, Malformed
from sealpress.hsm.mark import KEYS_MAX
from sealpress.hsm.signatures import Cosigner, Scheme, direct_scheme
from sealpress.values import KeyClass, Mode, check_line
from sealpress.verify import note

# For these the signer has to verify approvals itself, which it cannot yet: it refuses to hold them.
_CLASSES_REFUSED = frozenset({KeyClass.FIRMWARE, KeyClass.ROOT})


@dataclass(frozen=True, slots=True)
class GuardLog:
    """One log of this signer, with its key."""

    origin: str
    name: str
    key: note.LogKey
    private: Ed25519PrivateKey
    public: Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class GuardKey:
    """One line key."""

    name: str
    origin: str
    line: str
    slots: tuple[str, ...]
    spki: bytes
    key_id: bytes  # 32
    scope: bytes
    cka_id: bytes
    cka_label: str
    active: bool
    cosigner: Cosigner | None  # proof keys
    line_key: note.LineKey | None
    scheme: Scheme | None  # direct keys


@dataclass(frozen=True, slots=True)
class KeyTable:
    """Everything that may be asked for."""

    logs: Mapping[str, GuardLog]  # by origin
    keys: Mapping[str, GuardKey]  # by name

    def of_slot(self, slot: str) -> list[GuardKey]:
        """The keys that a slot's worker has to find."""
        return [key for key in self.keys.values() if key.active and slot in key.slots]


def key_table(config: Config, path_of: Callable[[str], Path]) -> KeyTable:
    """Read key files and check everything; ConfigError names the section."""
    seen: dict[bytes, str] = {}
    logs = {}
    origins = {}
    for id_, section in config.log.items():
        log = _log(id_, section, path_of, seen)
        if log.origin in logs:
            raise ConfigError(f"[log.{id_}]: the origin {log.origin} is there twice")
        logs[log.origin] = log
        origins[id_] = log
    keys = {}
    for id_, key in config.key.items():
        if key.log not in origins:
            raise ConfigError(f"[key.{id_}]: there is no [log.{key.log}]")
        if not key.slots or any(slot not in config.slot for slot in key.slots):
            raise ConfigError(f"[key.{id_}]: `slots` names a slot that is not configured")
        keys[id_] = _key(id_, key, origins[key.log], path_of, seen)
    _check_room(keys.values())
    return KeyTable(logs, keys)


def _check_room(keys: Iterable[GuardKey]) -> None:
    count: dict[str, int] = {}
    lines: set[tuple[str, str]] = set()
    for key in keys:
        count[key.origin] = count.get(key.origin, 0) + 1
        if count[key.origin] > KEYS_MAX:
            raise ConfigError(f"more than {KEYS_MAX} keys in {key.origin}", hint="give some lines another log")
        if key.active and (key.origin, key.line) in lines:
            raise ConfigError(f"line {key.line} has two active keys", hint='one must be state = "verify_only"')
        if key.active:
            lines.add((key.origin, key.line))


def _spki(where: str, path: Path, seen: dict[bytes, str]) -> bytes:
    try:
        spki = note.canonical_spki(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{where}: {path}: {error.strerror}") from None
    except Invalid as error:
        raise ConfigError(f"{where}: {path}: {error.message}") from None
    if spki in seen:
        raise ConfigError(f"{where}: its public key is that of {seen[spki]}", hint="one key, one role")
    seen[spki] = where
    return spki


def _log(id_: str, section: LogSection, path_of: Callable[[str], Path], seen: dict[bytes, str]) -> GuardLog:
    where = f"[log.{id_}]"
    public = load_der_public_key(_spki(where, path_of(section.public_key), seen))
    try:
        private = load_pem_private_key(path_of(section.key).read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"{where}: key: {error.strerror}", hint="the log key is a file of the signer") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{where}: key is not an unencrypted PKCS#8 PEM file") from None
    if not isinstance(private, Ed25519PrivateKey) or not isinstance(public, Ed25519PublicKey):
        raise ConfigError(f"{where}: a log key is Ed25519")
    raw = public.public_bytes_raw()
    if private.public_key().public_bytes_raw() != raw:
        raise ConfigError(f"{where}: `key` and `public_key` are not halves of one key")
    origin = f"{section.name}/{section.number}"
    return GuardLog(origin, section.name, note.log_key(origin, raw), private, public)


def _key(
    id_: str, section: KeySection, log: GuardLog, path_of: Callable[[str], Path], seen: dict[bytes, str]
) -> GuardKey:
    where = f"[key.{id_}]"
    if section.class_ in _CLASSES_REFUSED:
        raise ConfigError(f"{where}: this version has no signer for class {section.class_}")
    spki = _spki(where, path_of(section.public_key), seen)
    try:
        line = check_line(section.line)
        cka_id = bytes.fromhex(section.cka_id)
        scheme = direct_scheme(section.mode, section.format, spki)
        proof = section.mode is Mode.PROOF
        cosigner = Cosigner(spki) if proof else None
        line_key = note.line_key(f"{log.name}/{line}", spki) if proof else None
    except ValueError:
        raise ConfigError(f"{where}: `cka_id` is not hex") from None
    except (ConfigError, Invalid, Malformed) as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
    if not cka_id and not section.cka_label:
        raise ConfigError(f"{where}: give `cka_id` or `cka_label`")
    return GuardKey(
        name=id_,
        origin=log.origin,
        line=line,
        slots=section.slots,
        spki=spki,
        key_id=leaf.key_id(spki),
        scope=leaf.scope(log.name, line),
        cka_id=cka_id,
        cka_label=section.cka_label,
        active=section.state == "active",
        cosigner=cosigner,
        line_key=line_key,
        scheme=scheme,
    )
