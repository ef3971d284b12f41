"""Which direct signatures leave, of those that a token made while the disk was at work on the mark?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kit.entropy import SeededEntropy
from sealpress.errors import Conflict, Damaged, OutcomeUnknown
from sealpress.hsm.direct import Opened, Released
from sealpress.hsm.finish import Signed
from sealpress.hsm.releases import Releases
from sealpress.hsm.state import State
from sealpress.values import DigestAlgorithm

KEY: Any = SimpleNamespace(name="k")
MADE, NOT_MADE = Signed(b"signature", 0, 7, "s#1", ""), Signed(b"", 5, 7, "s#2", "OUTCOME_UNKNOWN")


class Book:
    """A log's account whose mark is durable, or never will be."""

    def __init__(self, failure: Damaged | None = None) -> None:
        """`failure`: of the disk."""
        self.released = Released(first=0)
        self._failure = failure

    async def durable(self) -> None:
        """The mark is on the disk."""
        if self._failure is not None:
            raise self._failure


async def signed(
    directory: Path, *, stop: str | None = "", failure: Damaged | None = None
) -> tuple[list[tuple[bytes, str]], list[bool]]:
    """What two leaves got, signature or reason; whether each may be asked for again. `stop`: meanwhile, of that key."""
    state, book = State(directory, SeededEntropy()), Book(failure)

    async def sign_leaves(*_: Any) -> list[Signed]:
        if stop != "":
            state.stop(stop)
        return [MADE, NOT_MADE]

    tokens: Any = SimpleNamespace(sign_leaves=sign_leaves)
    leaves = [Opened(index, DigestAlgorithm.SHA256, bytes(32), 0) for index in range(2)]
    results: list[Any] = [None, None]
    again = []
    try:
        for leaf in leaves:
            book.released.reserve(leaf)
        await Releases(state, tokens).sign(KEY, book, list(enumerate(leaves)), results)  # type: ignore[arg-type]
    finally:
        state.close()
        for leaf in leaves:
            try:
                book.released.reserve(leaf)
            except Conflict as refusal:
                assert refusal.reason == "ALREADY_SIGNED"
                again.append(False)
            else:
                again.append(True)
    return [(one.signature, one.reason) for one in results], again


async def test_what_was_made_leaves_once_and_what_was_not_may_be_asked_for_again(tmp_path: Path) -> None:
    """Of a part each leaf has its own fate."""
    assert ([(b"signature", ""), (b"", "OUTCOME_UNKNOWN")], [False, True]) == await signed(tmp_path)
    assert b"signature" == (await signed(tmp_path, stop="another"))[0][0][0]


@pytest.mark.parametrize("stop", ["k", None], ids=["the key", "everything"])
async def test_what_was_made_for_a_key_that_was_stopped_meanwhile_stays_here(tmp_path: Path, stop: str | None) -> None:
    """A stop is durable when it is answered: whoever stopped the key gets no signature after that."""
    assert ([(b"", "STOPPED"), (b"", "STOPPED")], [True, True]) == await signed(tmp_path, stop=stop)


async def test_what_was_made_under_a_mark_that_is_lost_stays_here(tmp_path: Path) -> None:
    """Nobody knows what the token did, and nothing of it leaves."""
    with pytest.raises(OutcomeUnknown):
        await signed(tmp_path, failure=Damaged("the disk is gone"))
