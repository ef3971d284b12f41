"""What the guard tells of itself, as of now: its logs' marks, its keys, its slots, and what it refused.

Does not: change anything, or say who may hear it (server.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from sealpress import __version__
from sealpress.hsm import messages as m
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.book import LogBook
from sealpress.hsm.inventory import REASON as KEY_ATTRIBUTES
from sealpress.hsm.keytable import GuardKey, KeyTable
from sealpress.hsm.state import State
from sealpress.hsm.tokens import Tokens


class Report:
    """Reads what others own."""

    def __init__(
        self,
        table: KeyTable,
        books: Mapping[str, LogBook],
        state: State,
        accounts: Accounts,
        tokens: Tokens,
        refused: Mapping[str, int],
    ) -> None:
        """`refused`: how often, by reason."""
        self._table = table
        self._books = books
        self._state = state
        self._accounts = accounts
        self._tokens = tokens
        self._refused = refused

    def status(self, id_: int) -> m.StatusView:
        """Marks as accepted (a head's signatures wait for the disk, a reader need not), keys, slots."""
        return m.StatusView(
            id_,
            __version__,
            {origin: self._mark_view(origin) for origin in self._books},
            {name: self._key_view(key) for name, key in self._table.keys.items()},
            self._tokens.views(),
            dict(self._refused),
        )

    def _mark_view(self, origin: str) -> m.MarkView:
        mark = self._books[origin].mark
        return m.MarkView(mark.size, mark.root, mark.time, self._table.logs[origin].key.key_id)

    def _key_view(self, key: GuardKey) -> m.KeyView:
        slot = self._tokens.slot_of(key)
        reason = ""
        if not key.active:
            reason = "VERIFY_ONLY"
        elif self._state.stopped(key.name):
            reason = "STOPPED"
        elif not slot:
            reason = KEY_ATTRIBUTES if self._accounts.barred(key) else "SLOT_DOWN"
        signed = self._books[key.origin].mark.signed.get(key.key_id[:8])
        size, time = (signed.size, signed.time) if signed else (0, 0)
        slot = slot or key.slots[0]
        mechanism, operations = self._accounts.mechanism(key, slot), self._accounts.number(slot, key.name)
        return m.KeyView(
            key.key_id, key.line, key.origin, slot, not reason, reason, size, time, key.held, mechanism, operations
        )
