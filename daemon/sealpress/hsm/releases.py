"""Direct signatures of leaves that were found in an accepted head: made, and released or kept back.

Guarantees: none leaves before the mark is durable, nor after its key was stopped; what was kept back is given back.
Does not: judge a leaf (direct.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sealpress.errors import Damaged, OutcomeUnknown
from sealpress.hsm import messages as m
from sealpress.hsm.book import LogBook
from sealpress.hsm.direct import Opened
from sealpress.hsm.keytable import GuardKey
from sealpress.hsm.state import State
from sealpress.hsm.tokens import Tokens


class Releases:
    """Of all direct keys."""

    def __init__(self, state: State, tokens: Tokens) -> None:
        """`state` knows which keys are stopped."""
        self._state = state
        self._tokens = tokens

    async def sign(
        self,
        key: GuardKey,
        book: LogBook,
        taken: Sequence[tuple[int, Opened]],
        results: list[m.DirectSignature | None],
    ) -> None:
        """Put into `results` what came of those that were `taken`, by their position."""
        try:
            leaves = [opened for _, opened in taken]
            _, signed = await asyncio.gather(_release(book), self._tokens.sign_leaves(key, leaves))
            stopped = self._state.stopped(key.name)
            for (position, opened), one in zip(taken, signed, strict=True):
                if one.signature and not stopped:
                    book.released.done(opened)
                    results[position] = m.DirectSignature(*one)
                else:
                    reason = "STOPPED" if stopped else one.reason
                    results[position] = m.DirectSignature(b"", one.rv, one.latency_us, one.slot, reason)
        finally:
            for _, opened in taken:
                book.released.give_back(opened.index)


async def _release(book: LogBook) -> None:
    """Wait until the mark is durable; after a failed write no signature leaves, and this process ends."""
    try:
        await book.durable()
    except Damaged as failure:
        raise OutcomeUnknown(failure.message) from None  # a token is at work on it
