"""Is a policy weaker than another? For the policies that the tests write; not for all."""

from __future__ import annotations

from typing import Any


def weaker(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether it demands less of anybody, or lets anybody do more."""
    ranks = ["test", "low", "release", "firmware", "root"]
    if set(new["line"]) - set(old["line"]):
        return True
    for line, now in new["line"].items():
        was = old["line"][line]
        if ranks.index(now["class"]) < ranks.index(was["class"]):
            return True
        if now.get("operator_separation") == "warn" != was.get("operator_separation"):
            return True
        if any(_less(was.get("approvals", {}).get(path), now_) for path, now_ in now.get("approvals", {}).items()):
            return True
        if any(_more(was["rule"].get(id_), rule) for id_, rule in now["rule"].items()):
            return True
    return False


def _less(was: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    if was is None:  # below class release nobody needs to say more
        return False
    groups = set(now["groups"]) - set(was["groups"])
    return bool(groups) or now["quorum"] < was["quorum"] or now.get("min_groups", 1) < was.get("min_groups", 1)


def _more(was: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    if was is None:
        return True

    def who(rule: dict[str, Any]) -> set[str]:
        return {*rule.get("identities", ()), *rule.get("claims", {}).get("repository_id", {}).get("in", ())}

    def hours(rule: dict[str, Any]) -> int:
        return int(rule.get("grant", {}).get("max_ttl", "0h").removesuffix("h"))

    def bound(rule: dict[str, Any], name: str) -> int:
        return int(rule.get(name) or rule.get("grant", {}).get(name) or 1 << 40)

    return (
        bool(who(now) - who(was))
        or hours(now) > hours(was)
        or any(bound(now, name) > bound(was, name) for name in ("max_per_minute", "max_uses"))
        or bool(set(was.get("gates", ())) - set(now.get("gates", ())))
    )
