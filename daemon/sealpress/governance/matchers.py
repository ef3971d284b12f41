"""The six matchers of a policy: what each accepts, what it says, and when one accepts no more than another.

    eq            exactly this text
    in            one of these texts
    prefix        begins with this text
    semver_range  a version as semver.org defines it (a leading "v" is allowed), within every bound of the range:
                  ">=1.2.0 <2.0.0". A pre-release fits only if a bound names a pre-release of the same numbers.
    int_range     a whole number without leading zeros or plus sign; both ends belong to the range
    set_subset    at least one word, parted by commas or blanks, all of them in the list

Guarantees: a closure depends on its argument alone; `within` says yes only where it is certain. Does not: know claims.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sealpress.errors import ConfigError
from sealpress.governance.form import HINT, Matcher

Test = Callable[[str], bool]
Version = tuple[int, int, int, tuple[tuple[int, int, str], ...]]  # the last: identifiers of a pre-release

VERSION = re.compile(
    r"v?(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})"
    r"(?:-((?:0|[1-9][0-9]{0,9}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]{0,9}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
VERSION_CHARACTERS_MAX = 256
BOUND = re.compile(r"(>=|<=|>|<|=)(\S+)", re.ASCII)
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}", re.ASCII)
WORDS = re.compile(r"[, \t]+")

_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    ">=": lambda one, other: _order(one) >= _order(other),
    "<=": lambda one, other: _order(one) <= _order(other),
    ">": lambda one, other: _order(one) > _order(other),
    "<": lambda one, other: _order(one) < _order(other),
    "=": lambda one, other: _order(one) == _order(other),
}


def compile_matcher(matcher: Matcher, where: str) -> Test:
    """The closure; ConfigError, with `where`, if a range says nothing."""
    if matcher.eq is not None:
        return matcher.eq.__eq__
    if matcher.in_ is not None:
        return frozenset(matcher.in_).__contains__
    if matcher.prefix is not None:
        return _prefix(matcher.prefix)
    if matcher.semver_range is not None:
        return _semver(matcher.semver_range, where)
    if matcher.int_range is not None:
        return _integer(*matcher.int_range, where)
    assert matcher.set_subset is not None
    return _subset(frozenset(matcher.set_subset))


def shown(matcher: Matcher) -> str:
    """What it expects, as text."""
    if matcher.eq is not None:
        return f"= {matcher.eq}"
    if matcher.in_ is not None:
        return "one of " + ", ".join(sorted(matcher.in_))
    if matcher.prefix is not None:
        return f"{matcher.prefix}…"
    if matcher.semver_range is not None:
        return f"version {matcher.semver_range}"
    if matcher.int_range is not None:
        return f"{matcher.int_range[0]} to {matcher.int_range[1]}"
    assert matcher.set_subset is not None
    return "only of " + ", ".join(sorted(matcher.set_subset))


def values(matcher: Matcher) -> frozenset[str] | None:
    """All texts that it accepts, if they are few."""
    if matcher.eq is not None:
        return frozenset((matcher.eq,))
    return None if matcher.in_ is None else frozenset(matcher.in_)


def within(narrow: Matcher, wide: Matcher) -> bool:
    """True if every text that `narrow` accepts is accepted by `wide`; False also where we cannot tell."""
    if narrow == wide:
        return True
    finite = values(narrow)
    if finite is not None:
        return all(map(compile_matcher(wide, ""), finite))
    if narrow.prefix is not None and wide.prefix is not None:
        return narrow.prefix.startswith(wide.prefix)
    if narrow.int_range is not None and wide.int_range is not None:
        return wide.int_range[0] <= narrow.int_range[0] and narrow.int_range[1] <= wide.int_range[1]
    if narrow.set_subset is not None and wide.set_subset is not None:
        return set(narrow.set_subset) <= set(wide.set_subset)
    return False


def apart(one: Matcher, other: Matcher) -> bool:
    """True if no text is accepted by both; False also where we cannot tell."""
    for first, second in ((one, other), (other, one)):
        finite = values(first)
        if finite is not None:
            return not any(map(compile_matcher(second, ""), finite))
    if one.prefix is not None and other.prefix is not None:
        return not (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))
    return False


def parse_version(text: str) -> Version | None:
    """A version of semver.org, build metadata dropped; None for any other text."""
    match = VERSION.fullmatch(text) if len(text) <= VERSION_CHARACTERS_MAX else None
    if match is None:
        return None
    identifiers = match[4].split(".") if match[4] else []
    # Numbers come before words and are compared as numbers.
    pre = tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in identifiers)
    return int(match[1]), int(match[2]), int(match[3]), pre


def _order(version: Version) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
    return (*version[:3], not version[3], version[3])


def _prefix(prefix: str) -> Test:
    return lambda value: value.startswith(prefix)


def _semver(text: str, where: str) -> Test:
    bounds: list[tuple[Callable[[Version, Version], bool], Version]] = []
    for part in text.split():
        match = BOUND.fullmatch(part)
        version = parse_version(match[2]) if match is not None else None
        if match is None or version is None:
            raise ConfigError(
                f"{where}: {part!r} is not a bound of versions", reason="POLICY", hint='write ">=1.2.0 <2.0.0"'
            )
        bounds.append((_COMPARE[match[1]], version))
    if not bounds:
        raise ConfigError(f"{where}: an empty range of versions", reason="POLICY", hint='write ">=1.2.0 <2.0.0"')
    named = frozenset(bound[:3] for _, bound in bounds if bound[3])

    def test(value: str) -> bool:
        version = parse_version(value)
        if version is None or (version[3] and version[:3] not in named):
            return False
        return all(compare(version, bound) for compare, bound in bounds)

    return test


def _integer(low: int, high: int, where: str) -> Test:
    if low > high:
        raise ConfigError(f"{where}: int_range [{low}, {high}] holds no number", reason="POLICY", hint=HINT)

    def test(value: str) -> bool:
        return INTEGER.fullmatch(value) is not None and low <= int(value) <= high

    return test


def _subset(allowed: frozenset[str]) -> Test:
    def test(value: str) -> bool:
        words = [word for word in WORDS.split(value) if word]
        return bool(words) and allowed.issuperset(words)

    return test
