"""The approval paths of a policy file: whose approvals, and how many, each stage of a line takes.

Guarantees: no path is below the floors of its class (floors.py). Does not: count (counting.py), or know who is in which
group (paths.py).
"""

from __future__ import annotations

from types import MappingProxyType

from sealpress.governance import floors
from sealpress.governance.floors import Floor, at_least
from sealpress.governance.form import LineSection, PathSection, PolicyFile, duration, seconds, wrong
from sealpress.governance.rules import LineRules
from sealpress.values import KeyClass
from sealpress.verify.change import Required


def paths_of_line(where: str, section: LineSection, least: Floor) -> MappingProxyType[str, Required]:
    """The four paths; where the policy is silent, those that its class can do without."""
    paths: dict[str, Required] = {}
    given = section.approvals
    strict = at_least(section.class_, KeyClass.RELEASE)
    stages = {"issuance": least.quorum_of_stages, "signing": least.quorum, "retirement": least.quorum_of_stages}
    for path, quorum in stages.items():
        written: PathSection | None = getattr(given, path)
        valid_s = least.valid_s if path == "signing" else least.valid_of_stages_s
        if written is not None:
            paths[path] = _path(f"{where}.{path}", path, written, quorum, least, valid_s)
        elif not strict:
            paths[path] = Required(path=path, quorum=quorum, credential=least.credential, valid_s=valid_s)
    if given.exception is not None:
        paths["exception"] = _exception(f"{where}.exception", given.exception, least)
    return MappingProxyType(paths)


def _exception(where: str, section: PathSection, least: Floor) -> Required:
    found = _path(where, "exception", section, floors.EXCEPTION_QUORUM, least, floors.EXCEPTION_VALID_S)
    if floors.SECURITY_OFFICERS not in found.must_include:
        raise wrong(where, "must_include lacks security-officers", "an exception needs one of them")
    if found.valid_s > floors.EXCEPTION_VALID_S_MAX:
        raise wrong(where, f"valid is more than {duration(floors.EXCEPTION_VALID_S_MAX)}", "shorten it")
    return found


def _path(where: str, path: str, section: PathSection, quorum: int, least: Floor, valid_s: int) -> Required:
    credential = section.credential or least.credential
    if section.quorum < quorum:
        raise wrong(where, f"quorum {section.quorum} is less than {quorum}", "a policy may only tighten")
    if floors.CREDENTIALS.index(credential) < floors.CREDENTIALS.index(least.credential):
        raise wrong(where, f'credential "{credential}" is less than "{least.credential}"', "a policy may only tighten")
    groups, must = set(section.groups), set(section.must_include)
    if not must <= groups or len(must) > section.quorum:
        raise wrong(where, "must_include is no part of groups, or longer than the quorum", "correct it")
    if section.quorum and section.min_groups > min(len(groups), section.quorum):
        raise wrong(where, "min_groups is more than there are groups, or than the quorum", "lower it")
    valid_s = valid_s if section.valid is None else seconds(section.valid)
    if valid_s > floors.VALID_S_MAX:
        raise wrong(where, f"valid is more than {duration(floors.VALID_S_MAX)}", "shorten it")
    return Required(
        path=path,
        quorum=section.quorum,
        groups=section.groups,
        min_groups=section.min_groups,
        must_include=section.must_include,
        credential=credential,
        valid_s=valid_s,
    )


def paths_of_node(where: str, file: PolicyFile, lines: dict[str, LineRules]) -> MappingProxyType[str, Required]:
    """Of policies and of access: what every line of the node depends on."""
    strict = any(at_least(rules.class_, KeyClass.RELEASE) for rules in lines.values())
    least = floors.floor(KeyClass.RELEASE if strict else KeyClass.TEST)
    paths: dict[str, Required] = {}
    for path, groups, must in floors.NODE_PATHS:
        written: PathSection | None = getattr(file.approvals, path)
        if written is None:
            paths[path] = Required(
                path=path, quorum=floors.NODE_QUORUM, groups=groups, must_include=must, valid_s=floors.NODE_VALID_S
            )
            continue
        found = _path(f"{where} {path}", path, written, floors.NODE_QUORUM, least, floors.NODE_VALID_S)
        if not set(must) <= set(found.must_include):
            raise wrong(f"{where} {path}", f"must_include lacks {', '.join(must)}", "a policy needs one of them")
        paths[path] = found
    return MappingProxyType(paths)
