"""What a look at modules asks and finds: told by the process that looks to the one that asked, and read by others."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sealpress.values import Format


class KnownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A `[key.<id>]` of the slot."""

    key: str
    spki: bytes
    format: Format


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A `[slot.<id>]`; `rejected` are tags of PINs that its token rejected."""

    slot: str
    label: str
    serial: str
    pin_file: str
    sessions: int
    rejected: tuple[bytes, ...]
    keys: tuple[KnownKey, ...]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured of one module; `every_key`: nothing is, and each key that shows itself is tried."""

    module: str
    reserved: str
    tag_key: bytes
    nonce: bytes  # makes the text that is signed a new one
    known: tuple[Known, ...]
    every_key: bool = False


class KeyFound(msgspec.Struct, frozen=True, kw_only=True):
    """A private key that may sign. `key` is empty where nobody configured it."""

    key: str
    label: str
    cka_id: str
    kind: str
    spki: bytes
    attributes: Mapping[str, bool]
    deviation: str  # from what GR-03 demands; empty: none
    signature: str  # good, untried, or what went wrong
    latency_us: int
    mechanism: str = ""  # that the token was asked for


class Rate(msgspec.Struct, frozen=True):
    """Signatures a second with so many sessions at work."""

    sessions: int
    per_s: float


class TokenFound(msgspec.Struct, frozen=True, kw_only=True):
    """A token. `problem`: how far the look at it came; empty: to the end."""

    slot: str
    label: str
    serial: str
    maker: str
    model: str
    firmware: str
    flags: tuple[str, ...]
    sessions_max: int | None  # beside the anchor; None: it does not say
    mechanisms: tuple[str, ...]
    logged_in: bool = False
    keys: tuple[KeyFound, ...] = ()
    rates: tuple[Rate, ...] = ()  # of the first of `keys` that signs
    missing: tuple[str, ...] = ()  # configured keys that are not there
    problem: str = ""
    rejected: bytes = b""  # the tag of a PIN that the token has just rejected


class ModuleFound(msgspec.Struct, frozen=True, kw_only=True):
    """A module and its tokens. `problem` as of a token."""

    module: str
    maker: str = ""
    description: str = ""
    version: str = ""
    locks: bool = True
    tokens: tuple[TokenFound, ...] = ()
    problem: str = ""
