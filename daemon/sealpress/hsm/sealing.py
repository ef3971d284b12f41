"""One seal under way: it is answered when its mark is durable and every token has said something, whichever comes last.

Guarantees: `done` is called once, and not before the mark that covers the seal is durable and the log's line is there;
after a failure nothing is told as signed. Does not: decide what is signed, or wait: those whom it waits for call it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sealpress.hsm import messages as m
from sealpress.hsm.finish import Signed
from sealpress.hsm.keytable import GuardKey


class Sealing:
    """What is there of the answer to `ask` so far."""

    __slots__ = ("_done", "_durable", "_missing", "ask", "keys", "log_line", "signed", "time")

    def __init__(
        self, ask: m.Seal, keys: Sequence[GuardKey], willing: int, time: int, done: Callable[[Sealing], None]
    ) -> None:
        """`keys`: of the ask, in its order; `willing`: how many of them are asked of a token; `time`: T."""
        self.ask = ask
        self.keys = keys
        self.time = time
        self.signed: dict[str, Signed] = {}  # by key
        self.log_line = b""
        self._missing = willing
        self._durable = False
        self._done = done

    def by_key(self, key: str, signed: Signed) -> None:
        """What became of this key's signature: verified, or a reason."""
        self.signed[key] = signed
        self._missing -= 1
        self._look()

    def durable(self, log_line: bytes) -> None:
        """The mark is, and this is what the log's key has signed meanwhile."""
        self.log_line = log_line
        self._durable = True
        self._look()

    def _look(self) -> None:
        if self._durable and not self._missing:
            self._done(self)
