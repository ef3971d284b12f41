"""Which keys a slot's token may be used for, by what its worker read back from it (GR-01, GR-03, GR-04).

Of a key of class `low` or above every attribute that GR-03 demands must be told, and told right; an adopted key may
have been born elsewhere. Such a key is on no token that keeps keys in files, except in a laboratory. Of a key of class
`test` nothing is demanded. MODIFIABLE is told and not judged: not every token knows it.

Guarantees: a key that is not as its class demands, or that was not looked at, is named by `wrong`; a change is told
once. Does not: read tokens (stock.py), or keep a key from signing by itself (who asks `wrong` does).
"""

from __future__ import annotations

from collections.abc import Mapping

from sealpress.config import SlotSection
from sealpress.hsm import work as w
from sealpress.hsm.keytable import GuardKey, KeyTable
from sealpress.hsm.mechanisms import MECHANISMS, chosen
from sealpress.hsm.objects import SOFTWARE_TOKENS, deviation
from sealpress.telemetry import Telemetry
from sealpress.values import DigestAlgorithm, KeyClass

REASON = "KEY_ATTRIBUTES"
_HINT = "generate a new one, or give the line a class that bears it; `sealpress hsm check` shows what the token says"


class Inventory:
    """Of all slots of one guard."""

    def __init__(self, table: KeyTable, slots: Mapping[str, SlotSection], telemetry: Telemetry) -> None:
        """Nothing is known of any token yet."""
        self._table = table
        self._slots = slots
        self._telemetry = telemetry
        self._wrong: dict[tuple[str, str], str] = {}
        self._stocks: dict[str, w.Stock] = {}

    def take(self, slot: str, stock: w.Stock) -> None:
        """A worker looked at the slot's token just now."""
        before = self._stocks.get(slot)
        self._stocks[slot] = stock
        for key in self._table.of_slot(slot):
            wrong = self._judge(key, slot, stock)
            if wrong != self._wrong.get((slot, key.name), ""):
                self._telemetry.key_judged(slot, key.name, wrong, _HINT if wrong else "")
            self._wrong[slot, key.name] = wrong
        if _strangers(before) != _strangers(stock):
            self._telemetry.keys_unmanaged(slot, stock.strangers_count, _named(stock))

    def looked(self, slot: str) -> bool:
        """Whether anybody has looked at its token yet."""
        return slot in self._stocks

    def wrong(self, key: str, slot: str) -> str:
        """Why the key must not be used on this token, for people; empty if it may."""
        return self._wrong.get((slot, key), "nobody has looked at it yet")

    def strangers(self, slot: str) -> int:
        """Keys that may sign and that nobody configured."""
        stock = self._stocks.get(slot)
        return stock.strangers_count if stock is not None else 0

    def named(self, slot: str) -> tuple[str, ...] | None:
        """The same by label, id and SPKI SHA-256, and how many are not named; None while nobody has looked."""
        stock = self._stocks.get(slot)
        return _named(stock) if stock is not None else None

    def operations(self, key: str, slot: str) -> int | None:
        """How often the key was used, by the token's own count when it was looked at."""
        stock = self._stocks.get(slot)
        return stock.keys[key].operations if stock is not None and key in stock.keys else None

    def mechanism(self, key: GuardKey, slot: str) -> str:
        """The mechanism that this token is asked for; empty while nobody has looked at it."""
        stock = self._stocks.get(slot)
        if stock is None:
            return ""
        if key.cosigner is not None:
            return MECHANISMS[chosen(key.cosigner.job("", b""), stock.mechanisms).mechanism]
        assert key.scheme is not None
        return MECHANISMS[key.scheme.job("", DigestAlgorithm.SHA256, bytes(32)).mechanism]

    def _judge(self, key: GuardKey, slot: str, stock: w.Stock) -> str:
        if key.class_ is KeyClass.TEST:
            return ""
        if stock.maker in SOFTWARE_TOKENS and not self._slots[slot].laboratory:
            return f"{stock.maker} keeps keys in files, and the key is of class {key.class_} (GR-04)"
        found = stock.keys.get(key.name)
        told = deviation(found.attributes if found is not None else {}, adopted=key.adopted)
        return f"{told} (GR-03)" if told else ""


def _named(stock: w.Stock) -> tuple[str, ...]:
    names = [_name(one) for one in stock.strangers]
    rest = stock.strangers_count - len(names)
    return (*names, f"{rest} more") if rest else tuple(names)


def _name(stranger: w.Stranger) -> str:
    """Printable ASCII, whatever a token gives out for a label."""
    label = "".join(c if " " <= c <= "~" else "?" for c in stranger.label)
    spki = stranger.key_id.hex()[:16] or "no public key"
    return f"{label} ({stranger.cka_id.hex()}, {spki})"


def _strangers(stock: w.Stock | None) -> tuple[int, tuple[w.Stranger, ...]]:
    return (stock.strangers_count, stock.strangers) if stock is not None else (0, ())
