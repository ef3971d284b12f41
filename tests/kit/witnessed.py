"""A node with three witnesses, two of whom make the quorum."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import tomli_w

from kit.node import PROOF, Node
from kit.witness import Witness, policy


@dataclass
class Watched:
    """A node and who watches it."""

    node: Node
    witnesses: list[Witness]

    def start(self) -> None:
        """Both processes."""
        self.node.start("signer")
        self.node.start("serve")


def log_vkey(node: Node) -> str:
    """Of the node's log."""
    return node.trust_file(PROOF).read_text().splitlines()[0].split(" ")[1]


def trust_text(node: Node, line: str, witnesses: list[Witness], threshold: int) -> str:
    """A verifier's policy that demands the line and so many of these."""
    log, own, _ = node.trust_file(line).read_text().splitlines()
    named = [f"witness w{i} {one.vkey}" for i, one in enumerate(witnesses)]
    group = f"group enough {threshold} {' '.join(f'w{i}' for i in range(len(witnesses)))}"
    return "\n".join([log, own, *named, group, "group both all line enough", "quorum both"]) + "\n"


def hold(node: Node, *lines: str) -> None:
    """hold = "witnessed" for these lines: in the policy and with the signer's key."""
    path = node.directory / "policy.toml"
    rules = tomllib.loads(path.read_text())
    for line in lines:
        rules["line"][line]["hold"] = "witnessed"
        node.configure({"key": {line.rpartition("/")[2]: {"hold": "witnessed"}}})
    path.write_text(tomli_w.dumps(rules))


@contextmanager
def watched(*held: str, start: bool = True, shim: bool = False, **settings: Any) -> Iterator[Watched]:
    """A node whose lines `held` wait for their witnesses; `settings` are of [witness]."""
    with ExitStack() as stack:
        node = stack.enter_context(Node(start=False, shim=shim))
        witnesses = [stack.enter_context(Witness(f"w{i}", {log_vkey(node)})) for i in range(3)]
        (node.directory / "witness.policy").write_text(policy([log_vkey(node)], witnesses, 2))
        section = {"policy": "witness.policy", "timeout_ms": 1_000, "interval_ms": 100} | settings
        node.configure({"witness": section})
        hold(node, *held)
        found = Watched(node, witnesses)
        if start:
            found.start()
        yield found
