"""What the steps make of a held line, and of cosignatures that come later."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sealpress.errors import Unavailable
from sealpress.governance.policy import compile_policy
from sealpress.steps._answers import with_cosignatures
from sealpress.steps._head import SignedHead
from sealpress.steps.admit import check_ready

NOW = 1_800_000_000


def shared(**fields: Any) -> Any:
    """As much of it as is looked at."""
    return SimpleNamespace(failed=None, draining=False, ready=lambda _: True, leaf_age_s_max=300, **fields)


@pytest.mark.parametrize("where", ["line", "rule"])
def test_a_policy_that_holds_is_not_met_by_a_key_that_does_not(where: str) -> None:
    """Neither the line's hold nor one rule's: nothing is admitted that the signer would not hold back."""
    held = '\nhold = "witnessed"\n'
    name = "a/b/c/test/e"
    text = f'schema = 1\n[line."{name}"]\nclass = "test"\nmode = "proof"\nformat = "tlog-proof"\n'
    text += 'digest_algs = ["sha256"]' + (held if where == "line" else "\n")
    text += f'[line."{name}".rule.ci]\naction = "sign"\nidentities = ["uri:a"]' + (held if where == "rule" else "\n")
    policy = compile_policy(text.encode())
    node = shared(snapshot=policy, limits=SimpleNamespace(seal_pending_max=4))
    line: Any = SimpleNamespace(name=name, key="k", durable=[], held=True)
    check_ready(node, line)
    line.held = False
    with pytest.raises(Unavailable) as caught:
        check_ready(node, line)

    assert caught.value.reason == "HOLD_NOT_CONFIGURED"


@pytest.mark.parametrize("behind", [False, True])
def test_a_line_that_is_too_far_behind_takes_no_more(behind: bool) -> None:
    """More durable batches than may wait for its key: what is asked for now hears when to come back."""
    node = shared(snapshot=SimpleNamespace(lines={}), limits=SimpleNamespace(seal_pending_max=4), why=lambda _: "")
    line: Any = SimpleNamespace(name="a/b/c/test/e", key="k", durable=[None] * (5 if behind else 4), held=False)
    if not behind:
        check_ready(node, line)
        return
    with pytest.raises(Unavailable) as caught:
        check_ready(node, line)

    assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("SLOT_DOWN", True)


@pytest.mark.parametrize(
    ("size", "time", "taken"), [(9, NOW, True), (8, NOW + 300, True), (7, NOW, False), (9, NOW + 301, False)]
)
def test_a_cosigned_head_serves_leaves_that_it_holds_and_that_are_young(size: int, time: int, taken: bool) -> None:
    """A retry is answered under it only if a verifier would accept: the leaf is in it, and at most 300 s older."""
    head = SignedHead(size, time, b"log", b"own", b"cosigned", 0, 0, "s")
    act = SimpleNamespace(first_leaf=6, count=2, spec=SimpleNamespace(time=NOW))
    recorded: Any = SimpleNamespace(act=act, log=None, checkpoint=b"recorded")
    line: Any = SimpleNamespace(cosigned=head)

    assert with_cosignatures(shared(), line, recorded).checkpoint == (b"cosigned" if taken else b"recorded")
    assert with_cosignatures(shared(), None, recorded) is recorded
