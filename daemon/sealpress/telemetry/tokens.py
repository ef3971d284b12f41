"""Events at the signer: its workers, their tokens, and what those say of keys. Lines only: it serves no metrics."""

from __future__ import annotations

from collections.abc import Sequence

from sealpress.telemetry.reporter import Reporter


class Tokens(Reporter):
    """What becomes of slots and the keys on their tokens."""

    def slot_up(self, slot: str, sessions: int, restarts: int) -> None:
        """A new worker has taken over; `restarts`: how many came before it."""
        self._log("info", "slot_up", slot=slot, sessions=sessions, restarts=restarts)

    def slot_lost(self, slot: str, reason: str) -> None:
        """A worker ended, or let a call wait too long: the next one is on its way."""
        self._log("warning", "slot_lost", slot=slot, reason=reason)

    def slot_failed(self, slot: str, reason: str, message: str, hint: str) -> None:
        """A worker found no token, no key, or no way in."""
        self._log("error", "slot_failed", slot=slot, reason=reason, message=message, hint=hint)

    def slot_turned(self, slot: str, state: str, reason: str) -> None:
        """The slot's breaker; `reason`: what opened it."""
        level = {"closed": "info", "half_open": "info", "open": "warning"}.get(state, "critical")
        self._log(level, "slot_turned", slot=slot, state=state, reason=reason)

    def slot_lied(self, slot: str, key: str, reason: str) -> None:
        """A signature is wrong or gives its key away: it is not released."""
        self._log("critical", "slot_lied", slot=slot, key=key, reason=reason)

    def key_judged(self, slot: str, key: str, wrong: str, hint: str) -> None:
        """What a token says of a key has changed: it is not used there, or (nothing is wrong) is used again."""
        if wrong:
            self._log("error", "key_not_used", slot=slot, key=key, reason="KEY_ATTRIBUTES", message=wrong, hint=hint)
        else:
            self._log("info", "key_used_again", slot=slot, key=key)

    def keys_unmanaged(self, slot: str, count: int, keys: Sequence[str]) -> None:
        """Keys that may sign and that nobody configured: others than before, or none any more; `keys`: the first."""
        self._log("critical" if count else "info", "key.unmanaged", slot=slot, count=count, keys=list(keys))

    def operations_restarted(self, keys: int) -> None:
        """The signer was killed: what it did last was not counted, and tokens are compared from here on."""
        self._log("warning", "operations_restarted", keys=keys)

    def operations_not_kept(self, message: str, hint: str) -> None:
        """The counts could not be written; tried again in a minute."""
        self._log("error", "operations_not_kept", message=message, hint=hint)

    def operations_compared(self, slot: str, key: str, differs: str) -> None:
        """A token's count of a key's operations is not ours, or (nothing differs) is so again."""
        level = "critical" if differs else "info"
        self._log(level, "operations_differ" if differs else "operations_agree", slot=slot, key=key, message=differs)
