"""What a verifier knows beyond keys: when a line ended, which leaves are void, how old firmware may be.

    schema = 1
    not_after = 2027-01-01T00:00:00Z     # or Unix seconds: the line signed nothing after this
    min_security_version = 7             # the anti-rollback floor
    [[void]]                             # leaf indices that no longer count, both ends included
    first = 1000
    last = 1999

Guarantees: strict decoding; an unknown key is an error. Does not: fetch anything.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sealpress.errors import ConfigError
from sealpress.reading import read_named

LIMITS_BYTES_MAX = 1 << 20
Natural = Annotated[int, Meta(ge=0)]


class Void(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range of leaf indices, both ends included."""

    first: Natural
    last: Natural

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("`first` is behind `last`")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file as a value."""

    schema: Literal[1] = 1
    not_after: Annotated[datetime, Meta(tz=True)] | int | None = None
    min_security_version: Natural = 0
    void: tuple[Void, ...] = ()

    @property
    def not_after_s(self) -> int | None:
        """Unix seconds; None without an end."""
        if isinstance(self.not_after, datetime):
            return int(self.not_after.timestamp())
        return self.not_after


def load_limits(path: Path) -> Limits:
    """Read the file; ConfigError names it and what is wrong."""
    try:
        body = read_named(path, LIMITS_BYTES_MAX)
    except OSError as error:
        hint = "give the limits file with --limits; join ranges of [[void]] that touch"
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from error
    try:
        return msgspec.toml.decode(body, type=Limits)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}", hint="keys: schema, not_after, min_security_version, [[void]]") from error
