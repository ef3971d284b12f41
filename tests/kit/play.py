"""Plays the histories of tests/scenarios/ in a town: does what each line says, and compares what comes of it.

A history begins with `== its name (the requirements that it shows)`. Each line below it is `who | does what | then`.
`then` is `refused CODE`, or what holds afterwards, several things parted by `;`. "It" is the newest change or grant.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kit.deeds import (
    approve,
    call,
    execute,
    propose_act,
    propose_binding,
    propose_credential,
    propose_extension,
    propose_identity,
    propose_key,
    propose_policy,
    read,
    read_token,
    release,
    request,
    restore,
    share,
    sign,
    sign_often,
    stop,
    write_down,
)
from kit.histories import Step
from kit.stage import Stage
from kit.townsfolk import (
    DAY_S,
    HOUR_S,
    person,
    policy_text,
)
from sealpress.errors import Invalid, Refusal
from sealpress.governance import facts as f

UNIT_S = {"second": 1, "minute": 60, "hour": HOUR_S, "day": DAY_S}
ARTIFACTS = r"(\d+(?:, \d+)*)"
DEEDS: tuple[tuple[str, Callable[..., None]], ...] = (
    (r"proposes (to adopt key|key) ([\w-]+) for (\w+)(?:, with (.*))?",
     lambda stage, who, how, key, line, more: propose_key(stage, who, how.removeprefix("to "), key, line, more)),
    (r"proposes to (activate|resume|deactivate|destroy|compromise) ([\w-]+)", propose_act),
    (r"proposes to extend ([\w-]+) by (\d+) days", propose_extension),
    (r"proposes the policy(?: with (?:`([^`]*)` instead of `([^`]*)`|([^`]+)))?", propose_policy),
    (r"proposes ([\w:-]+) as ([\w-]+) of (every line|\w+)(?:, in ([\w-]+))?", propose_binding),
    (r"proposes the (person|workload|agent|partner) ([\w-]+)(?:, with (.*))?", propose_identity),
    (r"proposes (\w+)'s key for (\w+)", propose_credential),
    (r"proposes that ([\w:-]+) returns", restore),
    (r"proposes shares of ([\w-]+), (\d) of (.*)", share),
    (r"calls it (\w+)", call),
    (r"approves (?:it|([A-Z]))(?:,? (.*))?", approve),
    (r"signs the approval on paper", write_down),
    (r"hands in the approval on paper", lambda stage, who: stage.town.present(*stage.kept)),
    (r"withdraws (?:it|([A-Z]))", lambda stage, who, name: stage.town.withdraw(stage.it(name), who)),
    (r"rejects (?:it|([A-Z]))", lambda stage, who, name: stage.town.reject(stage.it(name), who)),
    (r"takes the approval back", lambda stage, who: stage.town.take_back(stage.change, who)),
    (r"carries (?:it|([A-Z])) out(?:,? (.*))?", execute),
    (r"(suspends|offboards|revokes) (.*)", stop),
    (rf"asks for a release of {ARTIFACTS} on (\w+)", request),
    (rf"asks for signatures of {ARTIFACTS} on (\w+)(, naming the grant)?", sign),
    (r"asks (\d+) times for a signature on (\w+)", sign_often),
    (r"lets the release go", release),
    (r"reads (?:it|([A-Z]))", read),
    (r"reads an? (GitHub|GitLab|Buildkite) token(?: without (\w+))?", read_token),
    (r"(\d+) (second|minute|hour|day)s? pass(?:es)?",
     lambda stage, who, count, unit: stage.town.wait(int(count) * UNIT_S[unit])),
    (r"(\d+) (second|minute|hour|day)s? pass(?:es)? and nobody looks at the clock",
     lambda stage, who, count, unit: stage.town.wait(int(count) * UNIT_S[unit], tick=False)),
)  # fmt: skip


def _alerts(stage: Stage, name: str) -> str:
    known = (fact for fact in stage.town.history if isinstance(fact, f.AlertRaised))
    return name if any(fact.name == name for fact in known) else "no such alert"


def _waits(stage: Stage) -> str:
    grant = next(reversed(stage.town.state.grants.values()))
    return next((gate for gate in grant.issued.gates if gate not in grant.passed), "nobody")


LOOKS: tuple[tuple[str, Callable[..., Any]], ...] = (
    (r"(done)", lambda stage: "done"),
    (r"it is (\w+)", lambda stage: stage.town.state.change(stage.change).state.replace("closed", "done")),
    (r"([A-Z]) is (\w+)",
     lambda stage, name: stage.town.state.change(stage.named[name]).state.replace("closed", "done")),
    (r"key ([\w-]+) is (\w+)", lambda stage, key: stage.town.state.keys[key].state),
    (r"its public half is (\w+)", lambda stage: stage.town.state.keys[stage.newest_key()].public_state),
    (r"the grant is (\w+)", lambda stage: next(reversed(stage.town.state.grants.values())).state),
    (r"the grant waits for (.*)", _waits),
    (r"the quorum is (\d+)", lambda stage: str(stage.town.state.change(stage.change).record.required.quorum)),
    (r"the path is (\w+)", lambda stage: stage.town.state.change(stage.change).record.required.path),
    (r"(\d+) signed", lambda stage: str(stage.signed)),
    (r"([\w:-]+) is (active|suspended|offboarded)",
     lambda stage, who: stage.town.state.identities[who if ":" in who else person(who)].state),
    (r"the policy is the (old|new)", lambda stage: "old" if stage.town.state.policy == policy_text() else "new"),
    (r"alert (.*)", _alerts),
    (r"it says: (.*)", lambda stage, said: said if said in stage.text else stage.text),
)  # fmt: skip


def play(stage: Stage, step: Step) -> None:
    """AssertionError that names the line if something else comes of it."""
    refused = ""
    stage.signed, stage.text = 0, ""
    try:
        do(stage, step.who, step.does)
    except (Refusal, Invalid) as refusal:
        refused = f"refused {refusal.reason}"
    for expected in (part.strip() for part in step.then.split(";")):
        if refused or expected.startswith("refused"):
            assert refused == expected, (
                f"{step.where}: {step.who} {step.does}: {refused or 'it was done'}, not {expected}"
            )
        else:
            found = after(stage, expected)
            assert found == "", f"{step.where}: {step.who} {step.does}: not {expected!r}, but {found}"


def do(stage: Stage, who: str, does: str) -> None:
    """The first phrase that fits."""
    for pattern, deed in DEEDS:
        match = re.fullmatch(pattern, does)
        if match is not None:
            deed(stage, who, *match.groups())
            return
    raise LookupError(f"nobody knows how to do {does!r}")


def after(stage: Stage, expected: str) -> str:
    """What is so instead; empty if it is as expected."""
    for pattern, look in LOOKS:
        match = re.fullmatch(pattern, expected)
        if match is not None:
            asked = look.__code__.co_argcount - 1
            found = look(stage, *match.groups()[:asked])
            return "" if found == match.groups()[-1] else str(found)
    raise LookupError(f"nobody knows how to see {expected!r}")
