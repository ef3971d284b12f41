"""A seal under way: when it is answered, whatever comes last."""

from __future__ import annotations

from itertools import permutations

from sealpress.hsm import messages as m
from sealpress.hsm.finish import Signed
from sealpress.hsm.sealing import Sealing

ASK = m.Seal(1, "a/b/1", 1, ("x", "y"))
SIGNED = Signed(b"s", 0, 1, "s1", "")


def test_a_seal_is_answered_once_when_mark_and_tokens_are_done() -> None:
    """In whatever order they come, the last of them answers, and none before."""
    for order in permutations(("x", "y", "mark")):
        done: list[Sealing] = []
        sealing = Sealing(ASK, (), 2, 7, done.append)
        for what in order:
            assert not done
            if what == "mark":
                sealing.durable(b"line")
            else:
                sealing.by_key(what, SIGNED)
        assert done == [sealing]
        assert (sealing.log_line, sealing.signed) == (b"line", {"x": SIGNED, "y": SIGNED})


def test_a_seal_without_the_mark_is_never_answered() -> None:
    """Tokens alone, or nobody to wait for, release nothing."""
    done: list[Sealing] = []
    Sealing(ASK, (), 1, 7, done.append).by_key("x", SIGNED)
    Sealing(ASK, (), 0, 7, done.append)
    assert not done
