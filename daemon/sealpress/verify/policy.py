"""A verifier's trust: a C2SP tlog-policy file, one per line of keys (DESIGN 3.3).

    log <log vkey>                 the log's key; its name is the origin; several for successive numbers of one log
    witness line <line vkey>       the line's key, a cosigner named <log name>/<line>; always called "line"
    witness <name> <vkey>          further witnesses
    group <name> <k|any|all> ...   of witnesses and groups defined above
    quorum <name>                  "line", or a group that demands witnesses besides

Guarantees: exactly one line key, of the logs named; no key twice; no name undefined. Does not: fetch anything (URLs are
allowed and ignored).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealpress.core.leaf import key_id, scope
from sealpress.errors import ConfigError, Invalid
from sealpress.values import check_line
from sealpress.verify.note import LineKey, LogKey, parse_vkey

POLICY_BYTES_MAX = 64 << 10
LINE = "line"


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

    def satisfied(self, signed: set[str], name: str | None = None) -> bool:
        """Do these witnesses make the quorum (or the group `name`)?"""
        name = self.quorum if name is None else name
        group = self.groups.get(name)
        if group is None:
            return name in signed
        return sum(self.satisfied(signed, member) for member in group.members) >= group.threshold


def load_policy(path: Path) -> TrustPolicy:
    """Read and parse a file; ConfigError names it."""
    try:
        with path.open("rb") as file:
            text = file.read(POLICY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give the trust policy of the line with --trust") from error
    try:
        return parse_policy(text)
    except Invalid as error:
        raise ConfigError(f"{path}: {error.message}", reason=error.reason, hint=error.hint) from error


def parse_policy(text: bytes) -> TrustPolicy:
    """Invalid (reason POLICY) unless the whole text makes sense."""
    if len(text) > POLICY_BYTES_MAX:
        raise Invalid("a trust policy is at most 64 KiB", reason="POLICY")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        raise Invalid("a trust policy is UTF-8 text", reason="POLICY") from None
    reader = _Reader()
    for number, raw in enumerate(lines, 1):
        words = raw.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#"):
            try:
                reader.line(words)
            except Invalid as error:
                raise Invalid(f"line {number}: {error.message}", reason="POLICY", hint=error.hint) from None
    return reader.policy()


class _Reader:
    def __init__(self) -> None:
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

    def _group(self, words: list[str]) -> None:
        name, threshold, members = words[0], words[1], tuple(words[2:])
        self._fresh_name(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise Invalid(f"{member!r} is not defined above")
        if len(set(members)) != len(members):
            raise Invalid("a member stands twice in the group")
        known = {"any": 1, "all": len(members)}
        count = known.get(threshold) or (int(threshold) if threshold.isascii() and threshold.isdecimal() else 0)
        if not 1 <= count <= len(members):
            raise Invalid(f"the threshold is any, all, or 1 to {len(members)}")
        self.groups[name] = Group(count, members)

    def _quorum(self, words: list[str]) -> None:
        if self.quorum is not None:
            raise Invalid("a second quorum")
        if words[0] not in self.witnesses and words[0] not in self.groups:
            raise Invalid(f"{words[0]!r} is not defined above", hint="sealpress needs at least `quorum line`")
        self.quorum = words[0]

    def _fresh_name(self, name: str) -> None:
        if name == "none" or name in self.witnesses or name in self.groups:
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
