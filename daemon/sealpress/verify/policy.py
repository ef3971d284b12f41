"""A verifier's trust: a C2SP tlog-policy file, one per line of keys (DESIGN 3.3).

    log <log vkey>                 the log's key; its name is the origin; several for successive numbers of one log
    witness line <line vkey>       the line's key, a cosigner named <log name>/<line>; always called "line"
    witness <name> <vkey>          further witnesses
    group <name> <k|any|all> ...   of witnesses and groups defined above
    quorum <name>                  "line", or a group that demands witnesses besides

A node that has its heads cosigned reads the same language (`parse_witnesses`): no line is named there, the quorum may
be `none`, and a witness may have a URL, its submission prefix (C2SP tlog-witness).

Guarantees: exactly one line key, of the logs named; no key twice; no name undefined. Does not: fetch anything (a
verifier ignores URLs).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from sealpress.core.leaf import key_id, scope
from sealpress.errors import ConfigError, Invalid
from sealpress.reading import open_regular
from sealpress.values import check_line
from sealpress.verify.note import TYPE_COSIGNER, LineKey, LogKey, parse_vkey

POLICY_BYTES_MAX = 64 << 10
HINT_CRLF = "an editor, or git with core.autocrlf, made it so: take the carriage returns out, as with tr -d '\\r'"
WITNESSES_MAX = 14  # a checkpoint has 16 signature lines at most: of its log, a line, and these
LINE = "line"
NONE = "none"
_COUNT = re.compile(r"[1-9][0-9]?", re.ASCII)

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Group:
    """Satisfied by `threshold` of its members."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What one verifier trusts. `key_id` and `scope` are what a leaf of this line commits to."""

    logs: Mapping[str, LogKey]  # by origin
    witnesses: Mapping[str, LineKey]  # by policy name; "line" among them
    groups: Mapping[str, Group]
    quorum: str
    log_name: str
    line: str
    key_id: bytes
    scope: bytes

    @property
    def line_key(self) -> LineKey:
        """The key of the line."""
        return self.witnesses[LINE]

    def satisfied(self, signed: Collection[str]) -> bool:
        """Do these witnesses make the quorum?"""
        return _satisfied(self.groups, self.quorum, signed)


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """Who cosigns the heads of a node's logs, and how many of them it takes."""

    logs: Mapping[str, LogKey]  # by origin; empty: every log
    witnesses: Mapping[str, LineKey]  # by policy name; all Ed25519
    urls: Mapping[str, str]  # submission prefix, by policy name, where one is given
    groups: Mapping[str, Group]
    quorum: str

    def covers(self, origin: str) -> bool:
        """Whether heads of this log are to be cosigned."""
        return not self.logs or origin in self.logs

    def satisfied(self, signed: Collection[str]) -> bool:
        """Do these witnesses make the quorum? `none` is made by nobody at all."""
        return self.quorum == NONE or _satisfied(self.groups, self.quorum, signed)


def _satisfied(groups: Mapping[str, Group], quorum: str, signed: Collection[str]) -> bool:
    """Each group is looked at once: its members stand above it in the text."""
    met = set(signed) - groups.keys()
    for name, group in groups.items():
        if sum(member in met for member in group.members) >= group.threshold:
            met.add(name)
    return quorum in met


def load_policy(path: Path) -> TrustPolicy:
    """Read and parse a file, or what comes out of a pipe; ConfigError names it."""
    return _load(path, lambda: path.open("rb"), parse_policy, "give the trust policy of the line with --trust")


def load_witnesses(path: Path) -> WitnessPolicy:
    """Read and parse a node's file; ConfigError names it."""
    hint = "[witness] policy names a tlog-policy file with the node's witnesses"
    return _load(path, lambda: open_regular(path), parse_witnesses, hint)


def _load(path: Path, opened: Callable[[], IO[bytes]], parse: Callable[[bytes], P], hint: str) -> P:
    try:
        with opened() as file:
            text = file.read(POLICY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from error
    try:
        return parse(text)
    except Invalid as error:
        raise ConfigError(f"{path}: {error.message}", reason=error.reason, hint=error.hint) from error


def parse_policy(text: bytes) -> TrustPolicy:
    """Invalid (reason POLICY) unless the whole text makes sense."""
    return _read(text, _Reader()).policy()


def parse_witnesses(text: bytes) -> WitnessPolicy:
    """Invalid (reason POLICY) unless the whole text makes sense and every witness signs with Ed25519."""
    return _read(text, _Reader(lines=False)).witness_policy()


def _read(text: bytes, reader: _Reader) -> _Reader:
    if len(text) > POLICY_BYTES_MAX:
        raise Invalid("a trust policy is at most 64 KiB", reason="POLICY")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        raise Invalid("a trust policy is UTF-8 text", reason="POLICY") from None
    for number, raw in enumerate(lines, 1):
        words = raw.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#"):
            try:
                if raw.endswith("\r"):
                    raise Invalid("it ends with CR LF, where a newline alone ends a line", hint=HINT_CRLF)
                reader.line(words)
            except Invalid as error:
                raise Invalid(f"line {number}: {error.message}", reason="POLICY", hint=error.hint) from None
    return reader


class _Reader:
    def __init__(self, *, lines: bool = True) -> None:
        """`lines`: the text is a verifier's, about one line."""
        self.lines = lines
        self.urls: dict[str, str] = {}
        self.logs: dict[str, LogKey] = {}
        self.witnesses: dict[str, LineKey] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self.keys: set[bytes] = set()
        self.verbs: dict[str, tuple[int, int, Callable[[list[str]], None]]] = {
            "log": (1, 2, self._log),
            "witness": (2, 3, self._witness),
            "group": (3, 66, self._group),
            "quorum": (1, 1, self._quorum),
        }

    def line(self, words: list[str]) -> None:
        fewest, most, verb = self.verbs.get(words[0], (0, 0, self._unknown))
        if verb != self._unknown and not fewest <= len(words) - 1 <= most:
            raise Invalid(f"{words[0]!r} takes {fewest} to {most} words")
        verb(words[1:])

    def _unknown(self, _words: list[str]) -> None:
        raise Invalid("a line begins with log, witness, group or quorum")

    def _log(self, words: list[str]) -> None:
        key = parse_vkey(words[0])
        if not isinstance(key, LogKey):
            raise Invalid("a log's key has type 0x01 (Ed25519)")
        self._fresh_key(key.public)
        if key.name in self.logs:
            raise Invalid(f"two logs named {key.name}")
        self.logs[key.name] = key

    def _witness(self, words: list[str]) -> None:
        key = parse_vkey(words[1])
        if not isinstance(key, LineKey):
            raise Invalid("a witness key is a cosigner's: type 0x04, or 0xff of sealpress")
        self._fresh_name(words[0])
        self._fresh_key(key.spki[-32:] if key.type_bytes == b"\x04" else key.spki)
        self.witnesses[words[0]] = key
        if len(words) > 2:
            self.urls[words[0]] = words[2]

    def _group(self, words: list[str]) -> None:
        name, threshold, members = words[0], words[1], tuple(words[2:])
        self._fresh_name(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise Invalid(f"{member!r} is not defined above")
        if len(set(members)) != len(members):
            raise Invalid("a member stands twice in the group")
        known = {"any": 1, "all": len(members)}
        count = known.get(threshold) or (int(threshold) if _COUNT.fullmatch(threshold) else 0)
        if not 1 <= count <= len(members):
            raise Invalid(f"the threshold is any, all, or 1 to {len(members)}")
        self.groups[name] = Group(count, members)

    def _quorum(self, words: list[str]) -> None:
        if self.quorum is not None:
            raise Invalid("a second quorum")
        if words[0] not in self.witnesses and words[0] not in self.groups and (self.lines or words[0] != NONE):
            hint = "sealpress needs at least `quorum line`" if self.lines else "a witness, a group, or none"
            raise Invalid(f"{words[0]!r} is not defined above", hint=hint)
        self.quorum = words[0]

    def _fresh_name(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise Invalid(f"the name {name!r} is taken")

    def _fresh_key(self, key: bytes) -> None:
        if key in self.keys:
            raise Invalid("the same key stands twice")
        self.keys.add(key)

    def policy(self) -> TrustPolicy:
        if not self.logs or LINE not in self.witnesses or self.quorum is None:
            raise Invalid("needs `log <vkey>`, `witness line <vkey>` and `quorum line`", reason="POLICY")
        key = self.witnesses[LINE]
        parts = key.name.split("/")
        log_name, line = "/".join(parts[:2]), "/".join(parts[2:])
        try:
            check_line(line)
        except Exception:
            raise Invalid(f"{key.name!r} is not <log name>/<line>", reason="POLICY") from None
        for origin in self.logs:
            if origin.rpartition("/")[0] != log_name:
                raise Invalid(f"the line belongs to log {log_name}, not to {origin}", reason="POLICY")
        for name, other in self.witnesses.items():
            if name != LINE and other.name.startswith(log_name + "/") and other.name.count("/") == 6:
                raise Invalid(f"{name}: a policy trusts one line; give {other.name} its own file", reason="POLICY")
        quorum = self.quorum
        return TrustPolicy(
            self.logs, self.witnesses, self.groups, quorum, log_name, line, key_id(key.spki), scope(log_name, line)
        )

    def witness_policy(self) -> WitnessPolicy:
        if not self.witnesses or self.quorum is None:
            raise Invalid("needs `witness <name> <vkey> <url>` and `quorum <name>`", reason="POLICY")
        if len(self.witnesses) > WITNESSES_MAX:
            raise Invalid(f"more than {WITNESSES_MAX} witnesses", reason="POLICY")
        if len({key.key_id for key in self.witnesses.values()}) < len(self.witnesses):
            raise Invalid("two witnesses have one key id", reason="POLICY", hint="rename one of them")
        for name, key in self.witnesses.items():
            if key.type_bytes != TYPE_COSIGNER:
                raise Invalid(f"{name}: a witness of a node signs with Ed25519 (type 0x04)", reason="POLICY")
        return WitnessPolicy(self.logs, self.witnesses, self.urls, self.groups, self.quorum)
