"""A change as plain text: what those read who approve it, and what an auditor reads later (GR-14, 02).

The text says `change-sha256`, over the record's only bytes; `sealpress approve` makes both again from the record that
it fetched, so nobody signs what another program chose to show.

Guarantees: the same record gives the same text; every field of record and request stands in it; texts of others are
escaped, so that none poses as a line of ours. Does not: judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from sealpress.governance import changes as c
from sealpress.governance.diff import diff
from sealpress.governance.floors import Profile
from sealpress.governance.policy import compile_policy
from sealpress.governance.words import spoken
from sealpress.verify.change import ChangeRecord, ReleaseItem, ReleaseRequest
from sealpress.verify.statement import needed

WIDTH = 18
SPOKEN_ITEMS_MAX = 8  # artifacts of a release whose digests are given in words, too
BLANKS = re.compile("(?<= ) +")
INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # printable by their names, and nothing to see
_TIMES = {"created", "expires", "not_before", "rotate_by", "not_after", "since"}


def render(record: ChangeRecord, items_max: int = 0) -> str:
    """The whole text; with `items_max` a long release shows so many artifacts and how many more there are."""
    asked = c.request_of(record)
    lines = [*_head(record), "", *_request(asked, items_max), "", *_required(record)]
    return "\n".join(map(_escaped, [*lines, ""]))


def compare_releases(old: ReleaseRequest | None, new: ReleaseRequest) -> list[str]:
    """What is added, removed or changed since the line's previous release, by name."""
    if old is None:
        return ["the line has no earlier release"]
    before = {_named(item): item for item in old.items}
    after = {_named(item): item for item in new.items}
    found = [f"+ {name}" for name in after if name not in before]
    found += [f"- {name}" for name in before if name not in after]
    both = [(name, before[name].digest, item.digest) for name, item in after.items() if name in before]
    found += [f"~ {name}: {_cut(was)} → {_cut(is_)}" for name, was, is_ in both if was != is_]
    same = sum(was == is_ for _, was, is_ in both)
    return [f"since release {shown(old.release_id)}: {same} unchanged", *found]


def compare_policies(old: bytes, new: str, profile: str) -> list[str]:
    """What a policy changes by meaning, under the profile that a record names; what loosens is marked."""
    floors: Profile = "regulated" if profile == "regulated" else "baseline"
    after = compile_policy(new.encode(), "the proposed policy", profile=floors)
    if not old:
        return ["there is no policy yet: everything in it is new", *(f"+ line {line}" for line in after.lines)]
    before = compile_policy(old, "the policy in force", profile=floors)
    return [f"{'! LOOSENING  ' if one.loosening else '  '}{_escaped(one.text)}" for one in diff(before, after)] or [
        "nothing changes by meaning"
    ]


def shown(value: str) -> str:
    """One printable line, whoever wrote it; `-` for nothing.

    Many blanks would push what follows to where the terminal begins a line, which then poses as one of ours.
    """
    return BLANKS.sub(lambda run: r"\x20" * len(run[0]), _escaped(value)) or "-"


def _escaped(value: str) -> str:
    return "".join(char if _visible(char) else char.encode("unicode_escape").decode() for char in value)


def _visible(char: str) -> bool:
    return char.isprintable() and char not in INVISIBLE


def _head(record: ChangeRecord) -> Iterator[str]:
    lab = "  (a laboratory: keys and persons are stand-ins)" if record.profile == "lab" else ""
    yield _line("change", record.change_id)
    yield _line("kind", record.kind)
    yield _line("deployment", f"{shown(record.deployment)}, log {shown(record.log)}")
    yield _line("profile", record.profile + lab)
    if record.line:
        region, environment = record.line.split("/")[2:4]
        yield _line("line", f"{record.line}  (region {region}, environment {environment})")
    yield _line("summary", shown(record.summary))
    for name in ("reason", "risk", "rollback", "ticket"):
        yield _line(name, shown(getattr(record, name)))
    person = f", {record.requester_person}" if record.requester_person else ", a machine"
    yield _line("requested by", shown(record.requester) + person)
    if record.kind == "sign.release":
        yield _line("built by", record.creator_person or "nobody could be named: one more must approve")
    yield _line("created", _time(record.created))
    yield _line("expires", _time(record.expires))
    yield _line("policy-sha256", record.policy_sha256)
    yield _line("change-sha256", record.sha256)
    for text in spoken(bytes.fromhex(record.sha256)):
        yield _line("", text)


def _request(asked: c.Request, items_max: int) -> Iterator[str]:
    if isinstance(asked, ReleaseRequest):
        yield from _release(asked, items_max)
        return
    yield "asked for"
    for name in asked.__struct_fields__:
        value = getattr(asked, name)
        if isinstance(asked, c.PolicyRequest):
            for text in value.splitlines():
                yield f"  | {_escaped(text)}"
        else:
            yield _line(f"  {name.rstrip('_').replace('_', ' ')}", _value(name, value))


def _release(asked: ReleaseRequest, items_max: int) -> Iterator[str]:
    yield f"release {shown(asked.release_id)}"
    yield _line("  for", shown(asked.identity))
    yield _line("  rule", shown(asked.rule))
    yield _line("  time to sign", f"{asked.ttl_s} s after approval")
    yield _line("  gates", ", ".join(asked.gates) or "-")
    yield _line("  security version", str(asked.security_version))
    yield _line("  manifest-sha256", asked.manifest_sha256)
    items = asked.items[:items_max] if items_max else asked.items
    for item in items:
        yield f"  {asked.algorithm} {item.digest}"
        size = f", {item.size} bytes" if item.size else ""
        yield f"    {_named(item)}{size}"
        if len(asked.items) <= SPOKEN_ITEMS_MAX:
            yield from (f"    {text}" for text in spoken(bytes.fromhex(item.digest)))
    if len(items) < len(asked.items):
        yield f"  … and {len(asked.items) - len(items)} more; --json shows all"


def _required(record: ChangeRecord) -> Iterator[str]:
    required = record.required
    yield f"takes {needed(record)} approvals of path {required.path}"
    yield _line("  groups", ", ".join(required.groups) or "any with the role")
    if required.min_groups > 1:
        yield _line("  from at least", f"{required.min_groups} groups")
    if required.must_include:
        yield _line("  must include", ", ".join(required.must_include))
    yield _line("  credential", required.credential)
    yield _line("  each counts", f"{required.valid_s} s")


def _named(item: ReleaseItem) -> str:
    name = shown(item.name) if item.name else f"(no name) {_cut(item.digest)}"
    return f"{name} {shown(item.version)}" if item.version else name


def _value(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, int):
        return _time(value) if value else "never"
    if isinstance(value, tuple):
        return ", ".join(shown(str(item)) for item in value) or "-"
    if isinstance(value, msgspec.Struct):
        return shown(msgspec.json.encode(value).decode())
    return shown(str(value))


def _line(name: str, value: str) -> str:
    return f"{name:{WIDTH - 1}} {value}".rstrip()


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError):
        return f"second {seconds} since 1970"


def _cut(digest: str) -> str:
    return f"{digest[:16]}…"
