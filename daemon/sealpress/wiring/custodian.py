"""The custodian: started on demand by a person, does one thing to one key, writes its report, ends (GR-12, 15).

Its configuration has the shape of the signer's, with slots and PIN files of its own: where a token has several logins,
the custodian's can make and destroy keys and the signer's cannot. It needs no network and no socket.

Guarantees: hardened before a PIN is read; nothing is done without a change record that says so; a destruction is
reported only after every slot was searched. One module per process: slots of other modules are searched by children.
Does not: write to the log: the report goes through the issuance or retirement service.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealpress.clock import SystemClock
from sealpress.config import Config, KeySection, SlotSection, load, resolve
from sealpress.core import p11
from sealpress.errors import CannotStart, ConfigError, CoreError, Damaged, Invalid
from sealpress.hsm import certify, custodian, custody, objects, search
from sealpress.hsm.custody import Mandate
from sealpress.hsm.module import Token, TokenName
from sealpress.hsm.pinned import NoPins, load_anchors
from sealpress.reading import read_named, read_whole
from sealpress.verify import note

_NS = 1_000_000_000
_HINT_GONE = "check `cka_id` and `cka_label`; what was destroyed before stands in the report of that run"
_NO_TAG_KEY = bytes(p11.TAG_BYTES)  # nothing is remembered: a person stands before it


@dataclass(frozen=True, slots=True)
class Office:
    """One run: the configuration, who asks, and when."""

    config: Config
    path: Path
    operator: str
    now: int

    def at(self, value: str) -> Path:
        """A path of the configuration."""
        return resolve(self.path, value)

    def mandate(self, change_file: Path, kinds: tuple[str, ...], key: str = "", *, done: bool = False) -> Mandate:
        """What the change record asks for, checked; `done`: it was carried out before."""
        try:
            body = read_named(change_file, custody.FILE_BYTES_MAX)
        except OSError as error:
            raise ConfigError(f"{change_file}: {error.strerror}", hint="--change FILE: the approved change") from None
        pinned = load_anchors(self.config.signer, self.at, NoPins())
        line = self.config.key[key].line if key in self.config.key else ""
        return custody.mandate(custody.read_evidence(body), kinds, key, line, pinned, None if done else self.now)

    def slot(self, name: str) -> SlotSection:
        """The slot of the configuration."""
        found = self.config.slot.get(name)
        if found is None:
            raise ConfigError(f"there is no [slot.{name}]", hint="the custodian's configuration names its slots")
        return found

    def key(self, name: str) -> tuple[KeySection, bytes]:
        """The key of the configuration, and its canonical public key."""
        found = self.config.key.get(name)
        if found is None:
            hint = "make it of what `custodian generate` wrote (daemon/GOVERNANCE.md, A new key)"
            raise ConfigError(f"there is no [key.{name}]", hint=hint)
        try:
            bytes.fromhex(found.cka_id)
            return found, note.canonical_spki(read_whole(self.at(found.public_key)))
        except ValueError:
            raise ConfigError(f"[key.{name}]: `cka_id` is not hex") from None
        except OSError as error:
            raise ConfigError(f"[key.{name}] public_key: {error.filename}: {error.strerror}") from None
        except Invalid as error:
            raise ConfigError(f"[key.{name}] public_key: {error.message}") from None


def office(config_path: Path, operator: str) -> Office:
    """Harden this process and read the configuration."""
    p11.harden_process()
    if not operator.startswith("person:"):
        raise ConfigError(f"{operator!r} is no person", hint="--operator person:<name>, as enrolled")
    return Office(load(config_path), config_path, operator, SystemClock().now_ns() // _NS)


@contextlib.contextmanager
def _token(office: Office, section: SlotSection) -> Iterator[Token]:
    token = Token(TokenName(section.module, section.reserved, section.serial, section.label))
    try:
        if section.pin_file:
            token.login(str(office.at(section.pin_file)), _NO_TAG_KEY, ())
        yield token
    finally:
        with contextlib.suppress(CoreError):
            p11.finalize()


def generate(office: Office, change: Path) -> dict[str, Any]:
    """Make the key of an approved change of kind key.issue."""
    mandate = office.mandate(change, ("key.issue",))
    with _token(office, office.slot(mandate.asked.slot)) as token:
        report = custodian.generate(token, mandate, office.operator, office.now)
    name = custodian.cka_id(mandate.change.change_id)
    return _document(report, mandate, name.hex(), mandate.asked.key)


def adopt(office: Office, change: Path, cka_id: str, cka_label: str) -> dict[str, Any]:
    """Take over an existing key, as an approved change of kind key.adopt says."""
    mandate = office.mandate(change, ("key.adopt",))
    try:
        name = bytes.fromhex(cka_id)
    except ValueError:
        raise ConfigError(f"--cka-id {cka_id!r} is not hex") from None
    with _token(office, office.slot(mandate.asked.slot)) as token:
        report = custodian.adopt(token, mandate, name, cka_label, office.operator)
    return _document(report, mandate, cka_id, cka_label)


def request(office: Office, change: Path, key: str, subject: str) -> bytes:
    """A certificate request, signed by the key, under the change that made or adopted it."""
    office.mandate(change, ("key.issue", "key.adopt"), key, done=True)
    section, spki = office.key(key)
    with _token(office, office.slot(section.slots[0])) as token:
        name = bytes.fromhex(section.cka_id)
        pair = objects.pair_of(token.open_session(), key, name, section.cka_label, spki)
        return certify.request(spki, subject, lambda message: custodian.sign(token, pair, message))


def attach(office: Office, change: Path, key: str, chain: Path) -> certify.Certified:
    """The report of the certificate chain that came back; needs no token."""
    office.mandate(change, ("key.issue", "key.adopt"), key, done=True)
    _, spki = office.key(key)
    try:
        text = read_named(chain)
    except OSError as error:
        raise ConfigError(f"{chain}: {error.strerror}") from None
    return certify.attach(key, spki, text, office.operator, office.now)


def destroy(office: Office, change: Path, key: str) -> custodian.DestroyProof:
    """Destroy the key on its slots, then search every slot; Damaged KEY_REMAINS if it is still somewhere.

    What an interrupted run left is destroyed by the next one, which reports what was still there.
    """
    mandate = office.mandate(change, ("key.destroy",), key)
    section, spki = office.key(key)
    name = bytes.fromhex(section.cka_id)
    modules = {office.slot(slot).module for slot in section.slots}
    if len(modules) != 1:
        raise ConfigError(f"[key.{key}] has slots of several modules", hint="one run for each: name one slot at a time")
    asks = _asks(office, name, section.cka_label, spki)
    search.search_all(asks)  # nothing is destroyed of which nobody could say afterwards that it is gone
    destroyed = 0
    for slot in section.slots:
        with _token(office, office.slot(slot)) as token:
            destroyed += custodian.destroy(token, key, name, section.cka_label, spki)
    if not destroyed:
        raise CannotStart(f"key {key}: nothing of it is on its slots", reason="KEY_NOT_FOUND", hint=_HINT_GONE)
    proof = custodian.DestroyProof(
        key=key,
        line=section.line,
        key_id=hashlib.sha256(spki).hexdigest(),
        change_id=mandate.change.change_id,
        destroyed=destroyed,
        slots=search.search_all(asks),
        time=office.now,
        operator=office.operator,
    )
    if proof.found:
        places = ", ".join(f"{one.label} ({one.serial})" for one in proof.slots if one.found)
        raise Damaged(
            f"key {key}: {destroyed} objects were destroyed, but {proof.found} remain: {places}",
            reason="KEY_REMAINS",
            hint="find out what they are, then run it again for that slot",
        )
    return proof


def _asks(office: Office, name: bytes, label: str, spki: bytes) -> list[search.Ask]:
    """What to ask the search of each module that the configuration names."""
    modules: dict[tuple[str, str], list[search.Known]] = {}
    for slot, section in office.config.slot.items():
        pin_file = str(office.at(section.pin_file)) if section.pin_file else ""
        known = search.Known(slot, section.label, section.serial, pin_file)
        modules.setdefault((section.module, section.reserved), []).append(known)
    return [
        search.Ask(module, reserved, tuple(known), name, label, spki) for (module, reserved), known in modules.items()
    ]


def _document(report: custodian.Generated, mandate: Mandate, cka_id: str, cka_label: str) -> dict[str, Any]:
    """The report for the governance log, and what goes into the configurations of signer and daemon."""
    return {
        "report": report,
        "change_id": mandate.change.change_id,
        "line": mandate.asked.line,
        "slot": mandate.asked.slot,
        "cka_id": cka_id,
        "cka_label": cka_label,
        "public_key": custodian.pem(base64.b64decode(report.spki)),
    }
