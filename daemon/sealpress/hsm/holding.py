"""Held keys: what a key with hold = "witnessed" may sign, decided by the signer's own list of witnesses.

    seal(hold)   the log key signs the accepted head; the guard remembers it as proposed
    cosigned     cosignatures under a proposed head that make the quorum: now it is witnessed
    seal, direct of a held key: only a witnessed head, and only while it is young

The log may grow while witnesses are asked, so a witnessed head may be behind the mark: it is one that the guard itself
accepted, and the mark is consistent with it. A key's sizes never decrease, as its T (heads.py).

Guarantees: without the quorum's cosignatures no operation of a held key, whoever asks; both lists are bounded, and a
head leaves them after `hold_s_max`. Does not: ask witnesses, survive a restart (then the head is proposed again), or
count how many cosigners a good policy demands, but for classes firmware and root, where one must not suffice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sealpress.config import HELD, Config
from sealpress.errors import ConfigError, Invalid, NotPermitted
from sealpress.hsm import messages as m
from sealpress.hsm.keytable import KeyTable
from sealpress.verify import note
from sealpress.verify.policy import WitnessPolicy, load_witnesses
from sealpress.verify.witness import Cosignature, cosigners

PROPOSED_MAX = 16  # heads of one log whose witnesses are asked, or were


@dataclass(frozen=True, slots=True)
class Proposed:
    """An accepted head that the log key signed."""

    size: int
    root: bytes
    time: int  # of its newest leaf
    answering: int  # of an opened log: of the newest leaf that its line answers for
    since: int  # Unix seconds
    witnessed: bool = False


class Quorum:
    """The signer's witnesses, and how long a hold lasts."""

    def __init__(self, policy: WitnessPolicy, ahead_s_max: int, hold_s_max: int) -> None:
        """From the signer's own configuration."""
        self._policy = policy
        self._ahead_s_max = ahead_s_max
        self.hold_s_max = hold_s_max

    def demand(self, text: bytes, shown: Sequence[m.Cosignature], now: int) -> None:
        """Silent if these cosignatures make the quorum under this text; NotPermitted NOT_WITNESSED otherwise."""
        cosigned = (Cosignature(one.key_id, one.time, one.signature) for one in shown)
        try:
            names = cosigners(text, cosigned, self._policy.witnesses, now, self._ahead_s_max)
        except Invalid as error:
            raise NotPermitted(error.message, reason="NOT_WITNESSED") from None
        if not self._policy.satisfied(names):
            raise NotPermitted("these cosignatures do not make the quorum", reason="NOT_WITNESSED")


class Holds:
    """Of one log: the heads that were proposed to witnesses, the newest last."""

    def __init__(self, origin: str, quorum: Quorum | None) -> None:
        """None: no key of this signer is held."""
        self._origin = origin
        self._quorum = quorum
        self._heads: OrderedDict[int, Proposed] = OrderedDict()

    def propose(self, head: Proposed) -> None:
        """The log key signs it now; a head that is known already stays what it is, and is young again."""
        known = self._heads.pop(head.size, head)
        self._heads[head.size] = replace(known, since=head.since)
        if len(self._heads) > PROPOSED_MAX:
            self._heads.popitem(last=False)

    def cosigned(self, size: int, shown: Sequence[m.Cosignature], now: int) -> None:
        """The quorum has cosigned a proposed head."""
        if self._quorum is None:
            raise NotPermitted("no key of this signer waits for witnesses", reason="NOT_WITNESSED")
        head = self._young(size, now)
        self._quorum.demand(note.checkpoint_text(self._origin, size, head.root), shown, now)
        self._heads[size] = replace(head, witnessed=True)

    def witnessed(self, size: int, now: int) -> Proposed:
        """A head that held keys may sign under."""
        head = self._young(size, now)
        if not head.witnessed:
            raise NotPermitted("this key signs what the quorum of witnesses has cosigned", reason="NOT_WITNESSED")
        return head

    def _young(self, size: int, now: int) -> Proposed:
        head = self._heads.get(size)
        if head is None or self._quorum is None or now > head.since + self._quorum.hold_s_max:
            raise NotPermitted("no such head waits for its witnesses, or no longer", reason="NOT_WITNESSED")
        return head


def load_quorum(config: Config, path_of: Callable[[str], Path], table: KeyTable) -> Quorum | None:
    """The witnesses that held keys need; None if there are no such keys. ConfigError names the section."""
    held = [key for key in table.keys.values() if key.held]
    if not held:
        return None
    where = f'[key.{held[0].name}] hold = "{HELD}"'
    if config.witness is None:
        raise ConfigError(f"{where} needs [witness]", hint="[witness] policy = a tlog-policy file with the witnesses")
    policy = load_witnesses(path_of(config.witness.policy))
    if policy.satisfied(()):
        raise ConfigError(f"{where}, but the quorum is `none`", hint="name a witness or a group in the witness policy")
    for key in held:
        if not policy.covers(key.origin):
            raise ConfigError(f"[key.{key.name}]: the witness policy does not name the log {key.origin}")
        if key.class_.opened and any(policy.satisfied((name,)) for name in policy.witnesses):
            raise ConfigError(
                f"[key.{key.name}]: for class {key.class_} one witness must not make the quorum",
                hint="a group of at least two (GR-25)",
            )
    _check_names(policy, (log.key.public for log in table.logs.values()), (key.spki for key in table.keys.values()))
    return Quorum(policy, config.witness.clock_ahead_s_max, config.witness.hold_s_max)


def _check_names(policy: WitnessPolicy, logs: Iterable[bytes], lines: Iterable[bytes]) -> None:
    """A key of our own is no witness."""
    ours = {*logs, *(spki[-32:] for spki in lines)}
    for name, key in policy.witnesses.items():
        if key.spki[-32:] in ours:
            raise ConfigError(f"the witness policy's {name} is a key of this signer", hint="one key, one role")
