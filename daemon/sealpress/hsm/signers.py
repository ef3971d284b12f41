"""Several signers behind one interface: each call goes to the signer that our configuration names for its log or key.

A log belongs to one signer; a line of class firmware or root has one of its own (DESIGN 2). What a signer says of logs
and keys that are not its own is not heard: a signer of test keys cannot speak for a firmware key.

Guarantees: the interface and promises of `SignerLink`; one signer that is down takes down its own logs only. Does not:
know what the calls mean.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from sealpress.config import Config
from sealpress.errors import NotPermitted, Refusal, Unavailable
from sealpress.hsm.leaves import DirectItem, Openings
from sealpress.hsm.link import Call, SignerLink
from sealpress.hsm.outcomes import DirectResult, Sealed
from sealpress.hsm.status import Mark, SignerStatus
from sealpress.verify.evidence import Evidence
from sealpress.verify.witness import Cosignature

T = TypeVar("T")


class Signers:
    """All signers of one node."""

    def __init__(
        self,
        config: Config,
        path_of: Callable[[str], Path],
        deadline_ms: int,
        on_change: Callable[[SignerStatus], None] | None = None,
    ) -> None:
        """A link for each socket that a log names; `on_change` hears the merged status."""
        self._on_change = on_change
        default = path_of(config.signer.socket)
        used = {id_: path_of(log.signer) if log.signer else default for id_, log in config.log.items()}
        paths = list(dict.fromkeys(used.values())) or [default]
        self._links = {path: SignerLink(path, deadline_ms, self._changed) for path in paths}
        self._logs = {f"{log.name}/{log.number}": used[id_] for id_, log in config.log.items()}
        self._keys = {id_: used[key.log] for id_, key in config.key.items() if key.log in used}

    # ---- life ----

    async def connect(self) -> None:
        """Start connecting; returns when every guard has sent its first status. Unavailable after the deadline."""
        done = await asyncio.gather(*(link.connect() for link in self._links.values()), return_exceptions=True)
        _raise_first(done)

    async def close(self) -> None:
        """Disconnect and fail what is under way."""
        await asyncio.gather(*(link.close() for link in self._links.values()))

    @property
    def connected(self) -> bool:
        """Whether every guard is there."""
        return all(link.connected for link in self._links.values())

    @property
    def restarts(self) -> int:
        """Connections lost."""
        return sum(link.restarts for link in self._links.values())

    def ready(self, key: str) -> bool:
        """Whether the key's own guard said that it can sign now."""
        path = self._keys.get(key)
        return path is not None and self._links[path].ready(key)

    def why(self, key: str) -> str:
        """Why it cannot, as the guard said; empty if it can, or nothing is known."""
        path = self._keys.get(key)
        return self._links[path].why(key) if path is not None else ""

    @property
    def cached(self) -> SignerStatus | None:
        """What was pushed last, of all that are connected; None while none is."""
        known = {path: link.cached for path, link in self._links.items()}
        return self._merged({path: status for path, status in known.items() if status is not None})

    # ---- the interface ----

    async def status(self) -> SignerStatus:
        """Marks, keys and slots of every signer that answers; Unavailable if none does."""
        answers = await asyncio.gather(*(link.status() for link in self._links.values()), return_exceptions=True)
        known = {path: one for path, one in zip(self._links, answers, strict=True) if isinstance(one, SignerStatus)}
        merged = self._merged(known)
        if merged is None:
            _raise_first(answers)
            raise Unavailable("no signer answers", retry_after_ms=1_000)
        return merged

    async def mark(self, origin: str) -> Mark | None:
        """As SignerLink.mark, at the log's signer: whatever the others do, nobody waits for them."""
        return await self._of_log(origin).mark(origin)

    def advance(
        self,
        origin: str,
        size: int,
        root: bytes,
        consistency: bytes,
        newest_leaf_time: int,
        opened: Openings | None = None,
    ) -> Call[object]:
        """As SignerLink.advance, at the log's signer: sent when this returns, so the next call finds the new head."""
        return _sent(lambda: self._of_log(origin).advance(origin, size, root, consistency, newest_leaf_time, opened))

    def seal(self, origin: str, size: int, keys: Sequence[str], *, hold: bool = False) -> Call[Sealed]:
        """As SignerLink.seal, at the log's signer: sent when this returns."""
        return _sent(lambda: self._of_log(origin).seal(origin, size, keys, hold=hold))

    async def cosigned(self, origin: str, size: int, cosignatures: Sequence[Cosignature]) -> None:
        """As SignerLink.cosigned, at the log's signer."""
        await self._of_log(origin).cosigned(origin, size, cosignatures)

    def direct(self, key: str, items: Sequence[DirectItem], size: int) -> Call[list[DirectResult]]:
        """As SignerLink.direct, at the key's signer: sent when this returns."""
        return _sent(lambda: self._of_key(key).direct(key, items, size))

    async def stop(self, key: str | None) -> None:
        """No more signatures with this key (None: with any, at every signer); durable when this returns."""
        if key is not None:
            return await self._of_key(key).stop(key)
        # All are told before the first failure is raised.
        _raise_first(await asyncio.gather(*(link.stop(None) for link in self._links.values()), return_exceptions=True))
        return None

    async def lift(self, key: str, evidence: Evidence) -> None:
        """End a stop; the key's guard judges the evidence."""
        await self._of_key(key).lift(key, evidence)

    async def probe(self) -> dict[str, int]:
        """Per slot how long its worker took to answer, in microseconds; -1 if it did not."""
        answers = await asyncio.gather(*(link.probe() for link in self._links.values()), return_exceptions=True)
        found: dict[str, int] = {}
        for path, answer in zip(self._links, answers, strict=True):
            if isinstance(answer, dict):
                found |= {_slot_name(path, name, found): took for name, took in answer.items()}
            elif not isinstance(answer, Refusal):
                raise answer
        return found

    # ---- which ----

    def _of_log(self, origin: str) -> SignerLink:
        path = self._logs.get(origin)
        if path is None:
            raise NotPermitted("no signer holds such a log", reason="UNKNOWN_ORIGIN")
        return self._links[path]

    def _of_key(self, key: str) -> SignerLink:
        path = self._keys.get(key)
        if path is None:
            raise NotPermitted("no signer has such a key", reason="UNKNOWN_KEY")
        return self._links[path]

    def _changed(self, status: SignerStatus) -> None:
        del status
        if self._on_change is not None:
            self._on_change(self.cached or SignerStatus("", {}, {}, {}, {}))

    def _merged(self, known: Mapping[Path, SignerStatus]) -> SignerStatus | None:
        """One status out of several: of each only its own logs and keys."""
        if not known:
            return None
        merged = SignerStatus(", ".join(dict.fromkeys(one.version for one in known.values())), {}, {}, {}, {})
        refused: Counter[str] = Counter()
        for path, one in known.items():
            merged.logs.update({name: mark for name, mark in one.logs.items() if self._logs.get(name) == path})
            merged.keys.update({name: key for name, key in one.keys.items() if self._keys.get(name) == path})
            merged.slots.update({_slot_name(path, name, merged.slots): slot for name, slot in one.slots.items()})
            refused.update(one.refused)
        merged.refused.update(refused)
        return merged


def _sent(call: Callable[[], Call[T]]) -> Call[T]:
    """The call, made now; that nobody is there to be called is told, like every refusal, to whoever awaits it."""
    try:
        return call()
    except Refusal as refusal:
        return _refused(refusal)


async def _refused(refusal: Refusal) -> NoReturn:
    raise refusal


def _slot_name(path: Path, name: str, taken: Mapping[str, object]) -> str:
    """Two signers may call their slots alike."""
    return f"{path.stem}:{name}" if name in taken else name


def _raise_first(outcomes: Sequence[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
