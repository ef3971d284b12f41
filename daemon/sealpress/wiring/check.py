"""`sealpress hsm check`: every module of a configuration, or one that is not configured yet, looked at and advised on.

PINs that the signer saw rejected are not tried. One that is rejected here is remembered for the signer where its state
directory belongs to us and no signer is at work.

Guarantees: each module is loaded in a process of its own. Does not: talk to a running signer, or need one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealpress.config import Config, SlotSection, load, resolve
from sealpress.core import p11
from sealpress.entropy import SystemEntropy
from sealpress.errors import CannotStart, ConfigError
from sealpress.hsm import advice
from sealpress.hsm.check import check_module
from sealpress.hsm.findings import Ask, Known, KnownKey, ModuleFound
from sealpress.hsm.keytable import read_spki
from sealpress.hsm.probe import NAME as PROBE
from sealpress.hsm.state import State, known_pins
from sealpress.values import Format

_SESSIONS = 8  # tried where nothing is configured
_TAG_KEY = bytes(p11.TAG_BYTES)


@dataclass(frozen=True, slots=True)
class Checked:
    """A module with what is to be done about it; `tokens` in the order of `found.tokens`."""

    found: ModuleFound
    advice: list[str]
    tokens: list[list[str]]


def check_one(module: str, reserved: str, label: str, serial: str, pin_file: Path | None) -> list[Checked]:
    """A module that no configuration names; with a label and a PIN file every key of that token is tried."""
    pin = str(pin_file.resolve()) if pin_file is not None else ""
    known = Known(slot="", label=label, serial=serial, pin_file=pin, sessions=_SESSIONS, rejected=(), keys=())
    ask = Ask(
        module=module,
        reserved=reserved,
        tag_key=_TAG_KEY,
        nonce=SystemEntropy().bytes(32),
        known=(known,) if label else (),
        every_key=True,
    )
    return [_advised(check_module(ask), {})]


def check_all(path: Path, only: Iterable[str] = ()) -> list[Checked]:
    """The modules of `[slot.…]` of a configuration, or of the slots in `only`. ConfigError as for the signer."""
    config = load(path)
    wanted = tuple(only) or tuple(config.slot)
    unknown = [name for name in wanted if name not in config.slot]
    if unknown or not wanted:
        raise ConfigError(f"there is no [slot.{unknown[0]}]" if unknown else "no [slot.<id>] is configured")
    modules: dict[tuple[str, str], list[str]] = {}
    for name in wanted:
        modules.setdefault((config.slot[name].module, config.slot[name].reserved), []).append(name)
    checked = []
    with _pins(resolve(path, config.signer.state)) as pins:
        for (module, reserved), names in modules.items():
            known = tuple(_known(config, path, name, pins.rejected.get(name, ())) for name in names)
            nonce = SystemEntropy().bytes(32)
            found = check_module(Ask(module=module, reserved=reserved, tag_key=pins.tag_key, nonce=nonce, known=known))
            for token in found.tokens:
                pins.reject(token.slot, token.rejected)
            checked.append(_advised(found, config.slot))
    return checked


@dataclass(frozen=True, slots=True)
class _Pins:
    """What the signer knows of rejected PINs; `reject` adds to it where that is possible."""

    tag_key: bytes
    rejected: Mapping[str, tuple[bytes, ...]]
    reject: Callable[[str, bytes], None]


@contextmanager
def _pins(directory: Path) -> Iterator[_Pins]:
    """Holds the signer's state directory, so that no signer tries a PIN meanwhile, or reads it beside him."""
    state = None
    if _is_ours(directory):
        with contextlib.suppress(CannotStart):  # a signer is at work, and has tried its PIN itself
            state = State(directory, SystemEntropy())
    try:
        tag_key, rejected = known_pins(directory) or (_TAG_KEY, {})
        yield _Pins(tag_key, rejected, state.reject if state is not None else lambda _slot, _tag: None)
    finally:
        if state is not None:
            state.close()


def _is_ours(directory: Path) -> bool:
    """Whether a signer of this user keeps, or would make, this directory; root's own files would lock him out."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    return there.stat().st_uid == os.geteuid() and (there == directory or os.geteuid() != 0)


def _known(config: Config, path: Path, name: str, rejected: tuple[bytes, ...]) -> Known:
    slot, probe = config.slot[name], config.slot[name].probe_key
    keys = [
        KnownKey(key=id_, spki=read_spki(f"[key.{id_}]", resolve(path, key.public_key)), format=key.format)
        for id_, key in config.key.items()
        if name in key.slots
    ]
    if probe is not None:
        spki = read_spki(f"[slot.{name}.probe_key]", resolve(path, probe.public_key))
        keys.append(KnownKey(key=PROBE, spki=spki, format=Format.TLOG_PROOF))  # probes are signed like cosignatures
    return Known(
        slot=name,
        label=slot.label,
        serial=slot.serial,
        pin_file=str(resolve(path, slot.pin_file)) if slot.pin_file else "",
        sessions=slot.sessions,
        rejected=rejected,
        keys=tuple(keys),
    )


def _advised(found: ModuleFound, slots: dict[str, SlotSection]) -> Checked:
    told = []
    for token in found.tokens:
        slot = slots.get(token.slot)
        sessions, deadline_ms = (slot.sessions, slot.deadline_ms) if slot is not None else (0, 0)
        told.append(advice.of_token(token, sessions, deadline_ms))
    return Checked(found, advice.of_module(found), told)
