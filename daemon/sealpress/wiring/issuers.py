"""Whose tokens are read: [token] and [issuer.*] become rpc.tokens.Tokens with a reader of keys for each issuer.

Guarantees: a wrong setting is a ConfigError, an unusable key file CannotStart; an issuer that cannot be reached delays
its own tokens alone, never the start. Does not: register issuers in the log (governance does).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealpress.config import Config, IssuerSection
from sealpress.errors import ConfigError
from sealpress.ports import Clock
from sealpress.rpc.jwks import FILE_TIMES, URI_TIMES, Keys, check_uri, from_file, from_uri, started
from sealpress.rpc.tokens import Issuer, Tokens
from sealpress.telemetry import Telemetry

ISSUERS_MAX = 64


def check(config: Config) -> None:
    """What [token] and [issuer.*] must be for the listeners that there are; ConfigError."""
    if any(listen.auth == "token" for listen in config.listen):
        if config.token is None or not config.issuer:
            raise ConfigError(
                '[[listen]] with auth = "token" needs [token] and an [issuer.<id>]',
                hint="config.py has their keys; no issuer's tokens are read by default",
            )
        if any("control" in listen.services for listen in config.listen if listen.auth == "token"):
            raise ConfigError('[[listen]] control takes auth = "mtls": tokens are for machines')
    if len(config.issuer) > ISSUERS_MAX:
        raise ConfigError(f"more than {ISSUERS_MAX} [issuer.*]")
    urls = [section.url for section in config.issuer.values()]
    for id_, section in config.issuer.items():
        check_uri(section.url, f"[issuer.{id_}] url")
        if urls.count(section.url) > 1:
            raise ConfigError(f"[issuer.{id_}] url: two issuers have it", hint="an issuer is one section")
        if bool(section.jwks_uri) == bool(section.jwks_file):
            raise ConfigError(f"[issuer.{id_}]: give jwks_uri or jwks_file", hint="one of the two")
        if section.jwks_uri:
            check_uri(section.jwks_uri, f"[issuer.{id_}] jwks_uri")


async def tokens(config: Config, at: Callable[[str], Path], clock: Clock, telemetry: Telemetry) -> Tokens | None:
    """With the keys being read; None where no listener takes tokens."""
    if config.token is None or not any(listen.auth == "token" for listen in config.listen):
        return None
    issuers: dict[str, Issuer] = {}
    for id_, section in config.issuer.items():
        keys = await _keys(id_, section, at, clock, telemetry)
        issuers[section.url] = Issuer(id_, section.url, section.kind, keys, frozenset(section.owners))
    token = config.token
    return Tokens(token.audience, issuers, clock, lifetime_s_max=token.lifetime_s_max, skew_s=token.skew_s)


async def close(tokens: Tokens) -> None:
    """Stop reading keys."""
    for issuer in tokens.issuers:
        await issuer.keys.close()


async def _keys(
    id_: str, section: IssuerSection, at: Callable[[str], Path], clock: Clock, telemetry: Telemetry
) -> Keys:
    path = at(section.jwks_file) if section.jwks_file else None
    read, times = (from_file(path), FILE_TIMES) if path is not None else (from_uri(section.jwks_uri), URI_TIMES)
    keys = Keys(id_, read, times, clock, telemetry)
    await started(keys, path)
    return keys
