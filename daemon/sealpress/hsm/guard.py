"""The signer's guard: what the front end may ask, decided by rules of our own, and what is signed, built by ourselves.

The front end is not believed. It may say that the log grew, and prove it; ask for signatures under the head that was
accepted; and ask for the direct signature of a leaf that it shows to stand in such a head. Whatever it sends, the bytes
that reach a token are a cosignature message or a digest that a leaf of an accepted head commits to.

    advance   origin ours · size grows · consistent with the mark · time near our clock · growth within the cap
              of a line of class firmware or root: every leaf opened, every signature approved (openings.py)
    seal      the last accepted head of its own origin; the log key, and proof keys of that log
    cosigned  cosignatures of the signer's own witnesses that make the quorum: held keys may sign that head (holding.py)
    direct    a direct key · leaf rebuilt from opening and digest, found in an accepted head · young · once per index
    stop      one key or all, at once and durable       lift   by the quorum's signatures only (lifting.py)

Guarantees: a signature leaves after the mark that covers it is durable, after it was verified here with the public
key, and unless its key was stopped meanwhile. Calls change the guard's account in the order in which they are started:
no call waits before it has done so. Does not: load a module or hold a PIN.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

from sealpress.config import Config
from sealpress.errors import Damaged, Malformed, NotPermitted, Refusal, Unavailable
from sealpress.hsm import lifting, openings
from sealpress.hsm import messages as m
from sealpress.hsm.accounts import Accounts
from sealpress.hsm.begun import begun
from sealpress.hsm.book import LogBook
from sealpress.hsm.direct import Opened, open_leaf
from sealpress.hsm.finish import sign_log
from sealpress.hsm.heads import HeadLimits
from sealpress.hsm.holding import load_quorum
from sealpress.hsm.inventory import REASON as KEY_ATTRIBUTES
from sealpress.hsm.keytable import GuardKey, GuardLog, KeyTable
from sealpress.hsm.pinned import Pinned
from sealpress.hsm.releases import Releases
from sealpress.hsm.report import Report
from sealpress.hsm.sealing import Sealing
from sealpress.hsm.state import State
from sealpress.hsm.tokens import Tokens
from sealpress.ports import Clock
from sealpress.telemetry import Telemetry
from sealpress.verify import note

_log = logging.getLogger(__name__)

Reply = Callable[[m.Answer], None]
_NS = 1_000_000_000


class Guard:
    """All logs, keys and slots of one signer."""

    def __init__(
        self,
        config: Config,
        path_of: Callable[[str], Path],
        table: KeyTable,
        state: State,
        clock: Clock,
        anchors: Pinned | None = None,
    ) -> None:
        """Opens the marks; Damaged if one is not whole. `path_of` resolves a path of the configuration."""
        self._table = table
        self._anchors = anchors
        self._leaves_max = config.signer.leaves_per_advance_max
        self._state = state
        self._clock = clock
        self._limits = HeadLimits(
            config.signer.leaf_age_s_max, config.signer.clock_ahead_s_max, config.signer.leaves_per_minute_max
        )
        self._on_change: Callable[[], None] = lambda: None
        self.refused: Counter[str] = Counter()
        self.failure: asyncio.Future[Damaged] = asyncio.get_running_loop().create_future()
        quorum = load_quorum(config, path_of, table)
        self._books = {
            origin: LogBook(
                state.directory, origin, self._limits, self._failed, quorum, {id_[:8] for id_ in table.of_log(origin)}
            )
            for origin in table.logs
        }
        telemetry = Telemetry(clock)
        self._accounts = Accounts(table, config.slot, state, telemetry)
        self._daily: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()  # those that are coroutines
        self._tokens = Tokens(
            config, path_of, table, state, clock, telemetry, self._accounts, self._changed, self._failed
        )
        self._report = Report(table, self._books, state, self._accounts, self._tokens, self.refused)
        self._sign_leaves = Releases(state, self._tokens).sign

    # ---- life ----

    async def start(self) -> None:
        """Every slot has a worker, or will have; CannotStart if a person has to do something first."""
        for book in self._books.values():
            book.start(self._now())
        await self._tokens.start()
        self._daily = asyncio.create_task(self._accounts.run(self._tokens.look))

    async def close(self) -> None:
        """Kill the workers, write the marks."""
        if self._daily is not None:
            self._daily.cancel()
        await self._tokens.close()
        self._accounts.close()
        for book in self._books.values():
            await book.close()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call this when readiness changes."""
        self._on_change = on_change

    def _changed(self) -> None:
        self._on_change()

    def _failed(self, failure: Damaged) -> None:
        if not self.failure.done():
            self.failure.set_result(failure)

    # ---- the interface ----

    def handle(self, ask: m.Ask, reply: Reply) -> None:
        """One call; `reply` gets its answer, once, now or later. Every refusal is one, with its reason, and counted."""
        try:
            answer = self._begin(ask, reply)
        except Exception as error:
            answer = self._refused(ask, error)
        if answer is not None:
            reply(answer)

    def _begin(self, ask: m.Ask, reply: Reply) -> m.Answer | None:
        """The answer, or None if it comes later."""
        match ask:
            case m.Advance():
                self._advance(ask, reply)
            case m.Seal():
                self._seal(ask, reply)
            case m.Direct():
                self._await(ask, self._direct(ask), reply)
            case m.Probe():
                self._await(ask, self._probe(ask), reply)
            case m.Cosigned():
                self._book(ask.origin).holds.cosigned(ask.size, ask.cosignatures, self._now())
                return m.Done(ask.id)
            case m.Stop():
                return self._stop(ask)
            case m.Lift():
                return self._lift(ask)
            case m.Status():
                return self.status(ask.id)
            case _:
                raise Malformed("Hello is said once")
        return None

    def _refused(self, ask: m.Ask, error: Exception) -> m.Refused:
        if isinstance(error, Refusal):
            self.refused[error.reason] += 1
            return m.Refused(getattr(ask, "id", 0), error.reason, error.message, error.retry_after_ms)
        # Our bug: the caller hears of it now, not at its deadline; details go nowhere near the socket.
        self.refused["INTERNAL"] += 1
        _log.error("a call of the front end failed inside the guard", exc_info=error)
        return m.Refused(getattr(ask, "id", 0), "INTERNAL", "the signer failed inside; see its log")

    def _await(self, ask: m.Ask, call: Coroutine[None, None, m.Answer], reply: Reply) -> None:
        """Reply when the call, which begins at once, has ended."""

        async def answered() -> None:
            try:
                answer = await call
            except Exception as error:
                answer = self._refused(ask, error)
            reply(answer)

        task = asyncio.get_running_loop().create_task(begun(answered()))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def _when_durable(self, book: LogBook, ask: m.Advance | m.Seal, reply: Reply, then: Callable[[], None]) -> None:
        """As soon as all that was changed so far is on the disk; if it cannot be, this process ends."""

        def written(failure: Damaged | None) -> None:
            if failure is None:
                then()
            else:
                reply(self._refused(ask, _stopping(failure)))

        book.when_durable(written)

    async def _probe(self, ask: m.Probe) -> m.Probed:
        return m.Probed(ask.id, await self._tokens.probe())

    def _advance(self, ask: m.Advance, reply: Reply) -> None:
        book = self._book(ask.origin)
        now, second = self._now(), self._clock.monotonic_ns() // _NS
        log = self._table.logs[ask.origin]
        if not log.opens and (ask.leaves or ask.evidence):
            raise Malformed("the leaves of this log are not opened")
        opened = self._opened(ask, log, book, now) if log.opens else None
        growth = opened.growth if opened is not None else ask.consistency
        book.accept(ask.size, ask.root, growth, ask.newest_leaf_time, now, second, opened=log.opens)
        if opened is not None and opened.wanted:
            book.answering = opened.wanted[-1].time
        self._when_durable(book, ask, reply, lambda: reply(m.Done(ask.id)))

    def _opened(self, ask: m.Advance, log: GuardLog, book: LogBook, now: int) -> openings.Range:
        """The growth of a high-trust log, from its leaves. The loop waits for it: accounts change in order."""
        assert self._anchors is not None
        keys = self._table.of_log(ask.origin)
        found = openings.open_range(ask, book.mark, log.name, keys, now, self._limits, self._leaves_max)
        openings.demand(found.wanted, ask.evidence, self._anchors)
        return found

    def _seal(self, ask: m.Seal, reply: Reply) -> None:
        book, log = self._book(ask.origin), self._table.logs.get(ask.origin)
        assert log is not None
        if self._state.stopped_all:
            raise NotPermitted("the signer is stopped", reason="STOPPED")
        keys = self._proof_keys(ask)
        held = book.holds.witnessed(ask.size, self._now()) if any(key.held for key in keys) else None
        if held is None and (ask.size != book.mark.size or not ask.size):
            raise Unavailable("this is not the last accepted head", reason="HEAD_NOT_CURRENT", retry_after_ms=10)
        if log.opens and keys:
            answering = book.answering if held is None else held.answering
            openings.check_answering(answering, self._now(), self._limits)
        willing = [key for key in keys if not (self._state.stopped(key.name) or self._accounts.barred(key))]
        time = book.cosign([key.key_id[:8] for key in willing], self._now(), held)
        # First the disk, then the tokens: whom a message wakes may take this processor, and a disk needs none to work.
        book.write()
        if ask.hold:
            book.propose(self._now())
        text = note.checkpoint_text(ask.origin, ask.size, book.mark.root if held is None else held.root)
        message = note.cosignature_message(text, time)
        sealing = Sealing(ask, keys, len(willing), time, lambda sealing: reply(self._sealed(sealing)))
        # Disk and tokens work from here on; the log key signs meanwhile.
        for key in willing:
            self._tokens.cosign(key, message, partial(sealing.by_key, key.name))
        log_line = sign_log(log, text)
        self._when_durable(book, ask, reply, lambda: sealing.durable(log_line))

    def _sealed(self, sealing: Sealing) -> m.Answer:
        """Mark and tokens are done; what was stopped meanwhile is not released."""
        ask = sealing.ask
        try:
            if self._state.stopped_all:
                raise NotPermitted("the signer is stopped", reason="STOPPED")
            lines = tuple([self._sealed_by(key, sealing) for key in sealing.keys])
        except Exception as error:
            return self._refused(ask, error)
        return m.Sealed(ask.id, ask.size, sealing.time, sealing.log_line, lines)

    def _sealed_by(self, key: GuardKey, sealing: Sealing) -> m.SealedBy:
        one = sealing.signed.get(key.name)
        if one is None or self._state.stopped(key.name):
            reason = "STOPPED" if self._state.stopped(key.name) else KEY_ATTRIBUTES
            self.refused[reason] += 1
            return m.SealedBy(key.name, b"", 0, 0, "", reason)
        line = b""
        if one.signature:
            assert key.line_key is not None
            signature = sealing.time.to_bytes(8) + one.signature
            line = note.signature_line(key.line_key.name, key.line_key.key_id, signature)
        return m.SealedBy(key.name, line, one.rv, one.latency_us, one.slot, one.reason)

    def _proof_keys(self, ask: m.Seal) -> list[GuardKey]:
        if len(set(ask.keys)) != len(ask.keys):
            raise Malformed("a key is named twice")
        keys = [self._key(name) for name in ask.keys]
        for key in keys:
            if key.origin != ask.origin:
                raise NotPermitted(f"key {key.name} belongs to another log", reason="KEY_OF_OTHER_LOG")
            if key.cosigner is None:
                raise NotPermitted(f"key {key.name} signs no heads", reason="KEY_NOT_PROOF")
        if any(key.held for key in keys) and (ask.hold or not all(key.held for key in keys)):
            raise Malformed("held keys are sealed apart, under a head that is witnessed already")
        return keys

    async def _direct(self, ask: m.Direct) -> m.Directed:
        key = self._key(ask.key)
        if key.scheme is None:
            raise NotPermitted(f"key {key.name} signs heads only", reason="KEY_NOT_DIRECT")
        if self._state.stopped(key.name):
            raise NotPermitted(f"key {key.name} is stopped", reason="STOPPED")
        if self._accounts.barred(key):
            raise NotPermitted(f"key {key.name} is not as its class demands", reason=KEY_ATTRIBUTES)
        book = self._book(key.origin)
        if book.failure is not None:
            raise _stopping(book.failure)
        root = book.holds.witnessed(ask.size, self._now()).root if key.held else book.head(ask.size)
        if root is None:
            raise Malformed("no such head was accepted", reason="HEAD_NOT_ACCEPTED")
        results: list[m.DirectSignature | None] = [None] * len(ask.items)
        taken: list[tuple[int, Opened]] = []
        now = self._now()
        for position, item in enumerate(ask.items):
            try:
                opened = open_leaf(item, key.key_id, key.scope, ask.size, root, now, self._limits)
                book.released.reserve(opened)
            except Refusal as refusal:
                self.refused[refusal.reason] += 1
                results[position] = m.DirectSignature(b"", 0, 0, "", refusal.reason)
            else:
                taken.append((position, opened))
        if taken:
            await self._sign_leaves(key, book, taken, results)
        return m.Directed(ask.id, tuple(result for result in results if result is not None))

    def _lift(self, ask: m.Lift) -> m.Done:
        if ask.key is None:
            raise NotPermitted("a stop of everything is ended by those who run the signer, at its machine")
        key, evidence, now = self._key(ask.key), openings.proof_of(ask.evidence), self._now()
        change = lifting.check(self._anchors, self._state, key, evidence, now, self._limits.leaf_age_s_max)
        try:
            self._state.lift(key.name, change.change_id, change.expires, now)  # durable first, in force second
        except Damaged as failure:
            self._failed(failure)
            raise Unavailable(failure.message, reason="SIGNER_STOPPING") from None
        self._changed()
        return m.Done(ask.id)

    def _stop(self, ask: m.Stop) -> m.Done:
        if ask.key is not None:
            self._key(ask.key)
        try:
            self._state.stop(ask.key, self._now())  # blocks the loop for one fsync: nothing else may happen before it
        except Damaged as failure:
            self._failed(failure)
            raise Unavailable(failure.message, reason="SIGNER_STOPPING") from None
        finally:
            self._changed()
        return m.Done(ask.id)

    def status(self, id_: int) -> m.StatusView:
        """Marks as accepted (a head's signatures wait for the disk, a reader need not), keys, slots."""
        return self._report.status(id_)

    # ---- small things ----

    def _book(self, origin: str) -> LogBook:
        book = self._books.get(origin)
        if book is None:
            raise NotPermitted("this signer holds no such log", reason="UNKNOWN_ORIGIN")
        return book

    def _key(self, name: str) -> GuardKey:
        key = self._table.keys.get(name)
        if key is None or not key.active:
            raise NotPermitted("this signer has no such active key", reason="UNKNOWN_KEY")
        return key

    def _now(self) -> int:
        return self._clock.now_ns() // _NS


def _stopping(failure: Damaged) -> Unavailable:
    return Unavailable(failure.message, reason="SIGNER_STOPPING", retry_after_ms=1_000)
