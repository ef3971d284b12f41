"""What a governed node does besides at its start: fold the governance log, compare or adopt the trust anchors.

Guarantees: a log that began with trust anchors is never served without [governance], nor one that did not with it; the
anchors in force are those of the file, or the node does not start. Does not: decide anything (steps/_office.py).
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sealpress.config import Config, GovernanceSection
from sealpress.errors import CannotStart, ConfigError, Invalid, SealpressError
from sealpress.governance import adoption
from sealpress.governance.snapshot import Snapshot
from sealpress.hsm.pinned import split_armors
from sealpress.hsm.signers import Signers
from sealpress.reading import read_whole
from sealpress.steps import _archive
from sealpress.steps._office import NO_POLICY, Office
from sealpress.steps._shared import Shared
from sealpress.telemetry import Telemetry
from sealpress.tlog.log import Log
from sealpress.values import KeyClass
from sealpress.verify import anchors as rules
from sealpress.verify.change import encode

NOTHING = Snapshot(NO_POLICY, governed=True)
"""What is permitted before the first policy."""

SNAPSHOT_NAME = "governance.snapshot"
PathOf = Callable[[str], Path]
Veto = Callable[[Mapping[str, Any]], str]


def check(config: Config) -> None:
    """What [governance] and [key.*] must say together; ConfigError."""
    governed = config.governance is not None
    for id_, key in config.key.items():
        if governed != (key.state == "governed"):
            raise ConfigError(
                f"[key.{id_}] state {key.state!r} does not go with {'' if governed else 'no '}[governance]",
                hint='on a governed node every key has state = "governed": the governance log says which one signs',
            )
        if not governed and key.class_ is not KeyClass.TEST:
            raise ConfigError(
                f"[key.{id_}] class {key.class_}: without [governance] a node signs for class test only",
                hint="add [governance] with trust anchors, or give the key class test (DECISIONS/0010)",
            )
    logs: dict[str, str] = {}
    for id_, key in config.key.items():
        if logs.setdefault(key.line, key.log) != key.log:
            raise ConfigError(f"[key.{id_}] the keys of line {key.line} are in two logs", hint="one line, one log")


def check_ungoverned(log: Log) -> None:
    """CannotStart if this log is one of a governed node: its rules must not be left by deleting a section."""
    if _archive.began_governed(log):
        raise CannotStart(
            f"{log.settings.directory}: this log is governed, and the configuration has no [governance]",
            reason="GOVERNED",
            hint="give back the section [governance] with deployment and anchors",
        )


def veto(name: str) -> Veto | None:
    """The function that [governance] veto names; ConfigError if it cannot be had."""
    if not name:
        return None
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # theirs, and whatever it is, no node starts without it
        raise ConfigError(f"[governance] veto {name!r}: {error!r}", hint="write package.module:function") from error
    if not callable(found):
        raise ConfigError(f"[governance] veto {name!r} is no function", hint="write package.module:function")
    return found  # type: ignore[no-any-return]  # anything callable


def office(shared: Shared, link: Signers, telemetry: Telemetry) -> Office:
    """Fold what the logs hold; from here on it decides."""
    log = shared.governance.log
    path = log.settings.directory / "index" / SNAPSHOT_NAME
    folded = _archive.fold(log, [state.log for state in shared.logs.values()], path)
    made = Office(shared, folded, link, path)
    profile = made.state.anchors.profile if made.state.anchors is not None else ""
    telemetry.governed(profile, made.state.seq, folded.facts, from_file=folded.snapshot_seq > 0)
    for line in shared.keys:
        if line.key in made.state.keys and not made.usable(line):
            telemetry.key_unusable(line.key, "line, form, class or public key are not those in the governance log")
    status = link.cached
    made.escort.meet({name: key.reason for name, key in status.keys.items()} if status is not None else {})
    return made


async def adopt_anchors(office: Office, section: GovernanceSection, path_of: PathOf, telemetry: Telemetry) -> None:
    """Genesis, or the next version, or the same as before; CannotStart ANCHORS_… otherwise."""
    path = path_of(section.anchors)
    try:
        document = read_whole(path)
        signed = [read_whole(path_of(name)).decode() for name in section.signatures]
        armors = tuple(armor for text in signed for armor in split_armors(text))
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(
            f"[governance] {path}: {error}", reason="ANCHORS_UNREADABLE", hint="anchors and signatures name files"
        ) from error
    former = office.state.anchors
    if former is not None and encode(former) == document:
        return
    try:
        if former is None:
            anchors = rules.verify_genesis(document, armors)
        elif rules.parse(document).version == former.version + 1:
            anchors = rules.verify_next(former, document, armors)
        else:
            raise Invalid(
                f"version {former.version} is in force, and the file is neither it nor the next",
                reason="ANCHORS_DIFFER",
                hint="apply every version in its turn",
            )
    except Invalid as error:
        raise CannotStart(f"[governance] {path}: {error.message}", reason=error.reason, hint=error.hint) from error
    log = office.log_name
    if (anchors.deployment, anchors.log) != (section.deployment, log):
        raise CannotStart(
            f"[governance] {path}: made for {anchors.deployment}, log {anchors.log}; this is {section.deployment}, "
            f"log {log}",
            reason="ANCHORS_DEPLOYMENT",
            hint="[governance] deployment and the name of the governance log must be those of the anchors",
        )
    try:
        await office.act(lambda desk: (None, adoption.adopt(desk, anchors, armors)))
    except Invalid as error:
        raise CannotStart(f"[governance] {path}: {error.message}", reason=error.reason, hint=error.hint) from error
    telemetry.anchors_adopted(anchors.version)


async def reload_anchors(office: Office, section: GovernanceSection, path_of: PathOf, telemetry: Telemetry) -> None:
    """SIGHUP: what is wrong is told, and the old document stays."""
    try:
        await adopt_anchors(office, section, path_of, telemetry)
    except asyncio.CancelledError:
        raise
    except SealpressError as error:
        telemetry.anchors_refused(error.message)
