"""What no single section of a configuration can say: whether sections and policy go together.

Guarantees: a configuration that passes names one governance log, one active key for each line of the policy, and
listeners whose services go with their authentication. Does not: read files, or compare with the signer (keys.py).
"""

from __future__ import annotations

from sealpress.config import Config, check_address
from sealpress.errors import ConfigError
from sealpress.governance.snapshot import Snapshot
from sealpress.wiring import governed, issuers, witnesses


def check(config: Config, snapshot: Snapshot) -> None:
    """ConfigError with the first thing that does not fit."""
    if sum(section.governance for section in config.log.values()) != 1:
        raise ConfigError("exactly one log is the governance log", hint="[log.<id>] governance = true")
    if not config.listen:
        raise ConfigError(
            "there is no [[listen]]: nobody could reach this node",
            hint='[[listen]] address = "host:port", services = ["signing", "audit"]',
        )
    for listen in config.listen:
        check_address("[[listen]] address", listen.address)
        plain = listen.services == ("http",)
        if plain != (listen.auth == "none") or ("http" in listen.services and not plain):
            raise ConfigError(
                f"[[listen]] {listen.address}: auth {listen.auth!r} does not go with {list(listen.services)}",
                hint='http stands alone with auth = "none"; all others take auth = "mtls" or "token"',
            )
        if "control" in listen.services and config.governance is None:
            raise ConfigError(
                f"[[listen]] {listen.address}: control is for governed nodes", hint="add [governance], or leave it out"
            )
    issuers.check(config)
    active: dict[str, str] = {}
    for id_, key in config.key.items():
        if key.log not in config.log:
            raise ConfigError(f"[key.{id_}] log {key.log!r} is not configured")
        if key.state == "active" and active.setdefault(key.line, id_) != id_:
            raise ConfigError(f"[key.{id_}] line {key.line} has two active keys")
    governed.check(config)
    witnesses.check(config, snapshot)
    for line, rules in snapshot.lines.items():
        if line not in active:
            raise ConfigError(f'policy: [line."{line}"] has no active key', hint="[key.<id>] line = …")
        key = config.key[active[line]]
        if (rules.class_, rules.mode, rules.format) != (key.class_, key.mode, key.format):
            raise ConfigError(
                f'policy: [line."{line}"] differs from [key.{active[line]}] in class, mode or format',
                hint="they are fixed when the key is issued",
            )
