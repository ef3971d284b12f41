"""The guard's own key table: which keys there are, whose they are, and what they may do. From its own configuration.

Classes firmware and root are held alone: a signer that has such a line has anchors of its own, one log, and nothing on
it but this line (DESIGN L4). That log opens its leaves (openings.py).

Guarantees: each key has one log, line, mode, format and scheme that go together; no public key appears twice, in any
role; a log key's file is the half of its pinned public key. Does not: know what is stopped or how far a key has signed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from sealpress.config import HELD, Config, KeySection, LogSection, ProbeKey, SlotSection
from sealpress.core import leaf
from sealpress.errors import ConfigError, Invalid, Malformed
from sealpress.hsm.mark import KEYS_MAX
from sealpress.hsm.probe import NAME as PROBE
from sealpress.hsm.signatures import Cosigner, Scheme, direct_scheme
from sealpress.hsm.work import WorkerKey
from sealpress.reading import read_whole
from sealpress.values import KeyClass, Mode, check_line, tenant_of
from sealpress.verify import note

_LOG_KEY = "a file of the signer: `openssl genpkey -algorithm ed25519` makes it, `openssl pkey -pubout` its public half"


@dataclass(frozen=True, slots=True)
class GuardLog:
    """One log of this signer, with its key."""

    origin: str
    name: str
    key: note.LogKey
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    opens: bool = False  # every new leaf is looked at


@dataclass(frozen=True, slots=True)
class GuardKey:
    """One line key."""

    name: str
    origin: str
    line: str
    class_: KeyClass
    slots: tuple[str, ...]
    spki: bytes
    key_id: bytes  # 32
    scope: bytes
    cka_id: bytes
    cka_label: str
    active: bool  # may sign, unless it is stopped
    cosigner: Cosigner | None  # proof keys
    line_key: note.LineKey | None
    scheme: Scheme | None  # direct keys
    held: bool = False  # signs only under heads that the quorum of witnesses has cosigned (holding.py)
    adopted: bool = False  # it may have been born elsewhere
    tenant: str = ""  # whose turn it takes at a token


@dataclass(frozen=True, slots=True)
class KeyTable:
    """Everything that may be asked for."""

    logs: Mapping[str, GuardLog]  # by origin
    keys: Mapping[str, GuardKey]  # by name
    known: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)  # by slot: ids of all keys configured there
    probes: Mapping[str, WorkerKey] = field(default_factory=dict)  # by slot

    def of_log(self, origin: str) -> dict[bytes, GuardKey]:
        """All keys that a log had or has, by key id."""
        return {key.key_id: key for key in self.keys.values() if key.origin == origin}

    def of_slot(self, slot: str) -> list[GuardKey]:
        """The keys that a slot's worker has to find."""
        return [key for key in self.keys.values() if key.active and slot in key.slots]


def key_table(config: Config, path_of: Callable[[str], Path], anchored: Container[str] | None = None) -> KeyTable:
    """Read key files and check everything; ConfigError names the section.

    `anchored`: the lines for which this signer's anchors name a quorum; None if it has no anchors. Logs with another
    `signer` than our socket are not ours, nor are their keys.
    """
    seen: dict[bytes, str] = {}
    logs = {}
    origins = {}
    ours = {id_: section for id_, section in config.log.items() if _is_ours(config, section, path_of)}
    for id_, section in ours.items():
        log = _log(id_, section, path_of, seen)
        if log.origin in logs:
            raise ConfigError(f"[log.{id_}]: the origin {log.origin} is there twice")
        logs[log.origin] = log
        origins[id_] = log
    keys = {}
    for id_, key in config.key.items():
        if key.log not in config.log:
            raise ConfigError(f"[key.{id_}]: there is no [log.{key.log}]")
        if key.log not in ours:
            continue
        if not key.slots or any(slot not in config.slot for slot in key.slots):
            raise ConfigError(f"[key.{id_}]: `slots` names a slot that is not configured")
        if len(set(key.slots)) != len(key.slots):
            raise ConfigError(f"[key.{id_}]: `slots` names a slot twice")
        keys[id_] = _key(id_, key, origins[key.log], path_of, seen)
    _check_room(keys.values(), config)
    _check_slots({slot for key in keys.values() for slot in key.slots}, config)
    high = {key.origin for key in keys.values() if key.class_.opened}
    if high:
        _check_alone(config, ours, keys, anchored)
    probes = {
        id_: _probe(f"[slot.{id_}.probe_key]", slot.probe_key, path_of, seen)
        for id_, slot in config.slot.items()
        if slot.probe_key is not None
    }
    logs = {origin: replace(log, opens=origin in high) for origin, log in logs.items()}
    return KeyTable(logs, keys, _known(config, path_of), probes)


def _known(config: Config, path_of: Callable[[str], Path]) -> dict[str, tuple[bytes, ...]]:
    known: dict[str, tuple[bytes, ...]] = dict.fromkeys(config.slot, ())
    for id_, key in config.key.items():
        with contextlib.suppress(ConfigError):  # of another signer: its public key need not be here
            key_id = leaf.key_id(read_spki(f"[key.{id_}]", path_of(key.public_key)))
            known.update((slot, (*known[slot], key_id)) for slot in key.slots if slot in known)
    for id_, section in config.slot.items():
        if section.probe_key is not None:
            spki = read_spki(f"[slot.{id_}.probe_key]", path_of(section.probe_key.public_key))
            known[id_] = (*known[id_], leaf.key_id(spki))
    return known


def _check_slots(names: Iterable[str], config: Config) -> None:
    """A slot for each token: a second one would try a wrong PIN a second time."""
    seen: list[str] = []
    for name in sorted(names):
        other = next((one for one in seen if _is_same_token(config.slot[one], config.slot[name])), None)
        if other is not None:
            raise ConfigError(
                f"[slot.{other}] and [slot.{name}] are the same token",
                hint="name one of them in every key's `slots`; several tokens with one label need their `serial`",
            )
        seen.append(name)


def _is_same_token(one: SlotSection, other: SlotSection) -> bool:
    """A slot without a serial takes whatever token has its label."""
    places = {(slot.module, slot.reserved, slot.label) for slot in (one, other)}
    return len(places) == 1 and (one.serial == other.serial or not (one.serial and other.serial))


def _is_ours(config: Config, section: LogSection, path_of: Callable[[str], Path]) -> bool:
    return not section.signer or path_of(section.signer) == path_of(config.signer.socket)


def _check_alone(
    config: Config, ours: Mapping[str, LogSection], keys: Mapping[str, GuardKey], anchored: Container[str] | None
) -> None:
    """A line of class firmware or root: anchors, and nothing beside it at this signer."""
    high = next(key for key in keys.values() if key.class_.opened)
    where = f"[key.{high.name}]: a line of class {high.class_}"
    if anchored is None:
        raise ConfigError(
            f"{where} needs anchors of the signer's own",
            hint='[signer] anchors = "anchors.json" and anchors_signatures = [..], as the officers signed them',
        )
    if high.line not in anchored:
        raise ConfigError(
            f"{where} needs a quorum in the signer's anchors, and they do not name {high.line}",
            hint="publish the next version of the anchors with this line",
        )
    if len(ours) > 1:
        raise ConfigError(
            f"{where} has a signer of its own, and this one holds {len(ours)} logs",
            hint="give the others another signer: [log.<id>] signer = its socket, and a configuration of its own",
        )
    if ours[config.key[high.name].log].governance:
        raise ConfigError(f"{where} is not held in the governance log", hint="give the line a log of its own")
    for key in keys.values():
        if key.line != high.line:
            raise ConfigError(
                f"{where} is alone in its log, slots and signer, but [key.{key.name}] is of line {key.line}",
                hint="give each line of these classes a log, a slot and a signer of its own",
            )


def _check_room(keys: Iterable[GuardKey], config: Config) -> None:
    count: dict[str, int] = {}
    lines: dict[tuple[str, str], str] = {}
    classes: dict[tuple[str, str], KeyClass] = {}
    for key in keys:
        state = config.key[key.name].state
        count[key.origin] = count.get(key.origin, 0) + 1
        if count[key.origin] > KEYS_MAX:
            raise ConfigError(f"more than {KEYS_MAX} keys in {key.origin}", hint="give some lines another log")
        line = (key.origin, key.line)
        if classes.setdefault(line, key.class_) is not key.class_:
            raise ConfigError(
                f"line {key.line} has keys of two classes", hint="a line has one class, fixed at issuance"
            )
        if key.active and "active" in (state, lines.get(line, state)) and line in lines:
            raise ConfigError(
                f"line {key.line} has two active keys",
                hint='one must be state = "verify_only", or all "governed" on a governed node',
            )
        if key.active:
            lines[line] = state


def read_spki(where: str, path: Path) -> bytes:
    """Canonical SPKI of a PEM file; ConfigError says where it is named."""
    try:
        return note.canonical_spki(read_whole(path))
    except OSError as error:
        raise ConfigError(f"{where}: {path}: {error.strerror}") from None
    except Invalid as error:
        raise ConfigError(f"{where}: {path}: {error.message}") from None


def _spki(where: str, path: Path, seen: dict[bytes, str]) -> bytes:
    spki = read_spki(where, path)
    if spki in seen:
        raise ConfigError(f"{where}: its public key is that of {seen[spki]}", hint="one key, one role")
    seen[spki] = where
    return spki


def _log(id_: str, section: LogSection, path_of: Callable[[str], Path], seen: dict[bytes, str]) -> GuardLog:
    where = f"[log.{id_}]"
    public = load_der_public_key(_spki(where, path_of(section.public_key), seen))
    try:
        private = load_pem_private_key(read_whole(path_of(section.key)), None)
    except OSError as error:
        told = f"{where}: key: {error.filename}: {error.strerror}"
        raise ConfigError(told, hint=_LOG_KEY) from None
    except (ValueError, TypeError):
        raise ConfigError(f"{where}: key is not an unencrypted PKCS#8 PEM file", hint=_LOG_KEY) from None
    if not isinstance(private, Ed25519PrivateKey) or not isinstance(public, Ed25519PublicKey):
        raise ConfigError(f"{where}: a log key is Ed25519", hint=_LOG_KEY)
    raw = public.public_bytes_raw()
    if private.public_key().public_bytes_raw() != raw:
        raise ConfigError(f"{where}: `key` and `public_key` are not halves of one key", hint=_LOG_KEY)
    origin = f"{section.name}/{section.number}"
    return GuardLog(origin, section.name, note.log_key(origin, raw), private, public)


def _probe(where: str, section: ProbeKey, path_of: Callable[[str], Path], seen: dict[bytes, str]) -> WorkerKey:
    spki = _spki(where, path_of(section.public_key), seen)
    try:
        Cosigner(spki)
        cka_id = bytes.fromhex(section.cka_id)
    except ValueError:
        raise ConfigError(f"{where}: `cka_id` is not hex") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
    if not cka_id and not section.cka_label:
        raise ConfigError(f"{where}: give `cka_id` or `cka_label`")
    return WorkerKey(PROBE, cka_id, section.cka_label, spki)


def _key(
    id_: str, section: KeySection, log: GuardLog, path_of: Callable[[str], Path], seen: dict[bytes, str]
) -> GuardKey:
    where = f"[key.{id_}]"
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
        class_=section.class_,
        slots=section.slots,
        spki=spki,
        key_id=leaf.key_id(spki),
        scope=leaf.scope(log.name, line),
        cka_id=cka_id,
        cka_label=section.cka_label,
        active=section.state != "verify_only",
        cosigner=cosigner,
        line_key=line_key,
        scheme=scheme,
        adopted=section.adopted,
        held=section.hold == HELD,
        tenant=section.tenant or tenant_of(line),
    )
