"""`client.toml`: where the daemon listens and who we are.

Guarantees: strict decoding; paths count from the file. Does not: open certificates (`client.tls`) or connect.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from sealpress.errors import ConfigError
from sealpress.reading import read_whole

ENVIRONMENT = "SEALPRESS_CLIENT"
ADDRESS = re.compile(r"\S+:[0-9]+", re.ASCII)
KEYS = "keys: signing, control, audit, ca, cert, key, line, token"
NAME = r"^[^\x00]*\Z"  # that a file may have
HINT = "give --client FILE or set SEALPRESS_CLIENT; `sealpress dev` leaves a client.toml in its directory"


class ClientConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file as a value; `base` is its directory."""

    signing: Annotated[str, Meta(min_length=1)]  # host:port
    ca: Annotated[str, Meta(pattern=NAME)]  # PEM of the server's CA
    cert: Annotated[str, Meta(pattern=NAME)] = ""
    key: Annotated[str, Meta(pattern=NAME)] = ""
    control: str = ""
    audit: str = ""
    line: str = ""  # default for --key
    token: Annotated[str, Meta(pattern=NAME)] = (
        ""  # file with a bearer token, for token listeners; read again when it changes
    )
    base: str = ""

    def path(self, value: str) -> Path:
        """A path of the file."""
        return Path(self.base) / value


def load_client(path: Path | None = None) -> ClientConfig:
    """From `path` or SEALPRESS_CLIENT; ConfigError says what is missing or wrong."""
    if path is None:
        named = os.environ.get(ENVIRONMENT, "")
        if not named:
            raise ConfigError("no client configuration", hint=HINT)
        path = Path(named)
    try:
        found = msgspec.toml.decode(read_whole(path), type=ClientConfig)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=HINT) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}", hint=KEYS) from error
    _check(path, found)
    return msgspec.structs.replace(found, base=str(path.parent.resolve()))


def _check(path: Path, found: ClientConfig) -> None:
    """What the form lets pass: a key that is ours to set, and an address without a port, which gRPC takes for 443."""
    if found.base:
        raise ConfigError(f"{path}: Object contains unknown field `base`", hint=KEYS)
    for name in ("signing", "audit", "control"):
        address: str = getattr(found, name)
        if address and ADDRESS.fullmatch(address) is None:
            raise ConfigError(f"{path}: `{name}` = {address!r}: not host:port", hint=f'{name} = "host:port"')
