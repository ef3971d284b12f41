"""Can a governed node be started as anything else than what its log says?"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from msgspec.structs import replace

from kit.acme import OLGA, OLGA_NAME
from kit.node import PROOF, Node
from kit.softkeys import SoftKey
from sealpress.errors import NotPermitted
from sealpress.verify.anchors import NAMESPACE, AnchorKey, Officer, TrustAnchors
from sealpress.verify.change import encode
from sealpress.wiring import dev

KEYS = (SoftKey.make(), SoftKey.make())
FIRST = TrustAnchors(
    version=1,
    deployment="here",
    profile="baseline",
    log=dev.LOG_NAME,
    officers=(
        Officer(person=OLGA, names=(OLGA_NAME,), keys=(AnchorKey(public=KEYS[0].line, application="ssh:sealpress"),)),
        Officer(
            person="person:otto",
            names=("uri:otto",),
            keys=(AnchorKey(public=KEYS[1].line, application="ssh:sealpress"),),
        ),
    ),
    root_threshold=2,
    created=1_700_000_000,
    expires=1_999_999_999,
)
SECOND = replace(FIRST, version=2, expires=1_999_999_998)


def rewrite(node: Node, change: Any) -> None:
    """Edit sealpress.toml as a dictionary."""
    settings = tomllib.loads(node.config.read_text())
    change(settings)
    node.config.write_text(tomli_w.dumps(settings))


def governed(settings: dict[str, Any]) -> None:
    """The section, and every key left to the log."""
    settings["governance"] = {"deployment": "here", "signatures": ["olga.sig", "otto.sig"]}
    for key in settings["key"].values():
        key["state"] = "governed"


def ungoverned(settings: dict[str, Any]) -> None:
    """As it was before."""
    del settings["governance"]
    for key in settings["key"].values():
        key["state"] = "active"


def install(node: Node, anchors: TrustAnchors, by: tuple[SoftKey, ...] = KEYS) -> None:
    """The document and its signatures, beside the configuration."""
    raw = encode(anchors)
    (node.directory / "anchors.json").write_bytes(raw)
    for name in ("olga", "otto"):
        (node.directory / f"{name}.sig").write_text("")
    for name, key in zip(("olga", "otto"), by, strict=False):
        (node.directory / f"{name}.sig").write_text(key.sign(raw, NAMESPACE))


@pytest.fixture
def node() -> Iterator[Node]:
    """A governed node that is not started yet; nobody has approved anything on it."""
    with Node(start=False) as made:
        rewrite(made, governed)
        install(made, FIRST)
        yield made


def failing(node: Node) -> str:
    """Why serve does not start; the signer runs."""
    done = node.run("serve")
    assert done.returncode == 4, done.stderr
    return done.stderr


def both(node: Node) -> None:
    """Start signer and serve."""
    for command in ("signer", "serve"):
        if command not in node.children:
            node.start(command)


def test_genesis_once_then_the_same_or_the_next(node: Node) -> None:
    """Signed by all officers it begins; the same file again is nothing new; the next version follows, and no other."""
    both(node)
    with node.client() as client, pytest.raises(NotPermitted):
        client.sign(bytes(32), line=PROOF)
    assert node.words.count("anchors_adopted") == 1
    node.stop("serve")
    node.start("serve")
    assert node.words.count("anchors_adopted") == 1
    assert '"from_file": true' in node.words
    node.stop("serve")
    install(node, SECOND)
    node.start("serve")
    assert node.words.count("anchors_adopted") == 2
    node.stop("serve")
    install(node, FIRST)
    assert "neither it nor the next" in failing(node)
    install(node, replace(SECOND, version=3), by=KEYS[:1])
    assert "without signature" in failing(node)


def test_genesis_needs_every_officer(node: Node) -> None:
    """One signature short, and nothing is written."""
    install(node, FIRST, by=KEYS[:1])
    node.start("signer")
    assert "wants 2 of its officers" in failing(node)
    install(node, replace(FIRST, deployment="elsewhere"))
    assert "made for elsewhere" in failing(node)
    install(node, FIRST)
    node.start("serve")


def test_deleting_the_section_does_not_free_the_node(node: Node) -> None:
    """A log that is governed is not served by the policy file beside it."""
    both(node)
    node.stop("serve")
    node.stop("signer")
    rewrite(node, ungoverned)
    node.start("signer")
    assert "no [governance]" in failing(node)


def test_without_governance_only_class_test(node: Node) -> None:
    """A key of another class is refused by name, and so is a governed one."""
    rewrite(node, ungoverned)
    node.start("signer")
    rewrite(node, lambda settings: settings["key"]["proof-p256"].update({"class": "low"}))
    assert "class low: without [governance]" in failing(node)
    rewrite(node, lambda settings: settings["key"]["proof-p256"].update({"class": "test", "state": "governed"}))
    assert "no [governance]" in failing(node)


def test_a_log_that_was_used_is_not_governed_later(node: Node, tmp_path: Path) -> None:
    """What was signed without approvals is not covered by anchors that come afterwards."""
    rewrite(node, ungoverned)
    both(node)
    node.stop("serve")
    node.stop("signer")
    rewrite(node, governed)
    node.start("signer")
    assert "began without governance" in failing(node)
