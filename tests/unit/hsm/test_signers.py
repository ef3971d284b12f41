"""Several signers behind one interface: each call at its own, each hears of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from sealpress.config import Config, resolve
from sealpress.errors import NotPermitted, Refusal, Unavailable
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.leaves import DirectItem
from sealpress.hsm.signers import Signers
from sealpress.hsm.status import SignerStatus
from sealpress.verify.evidence import Evidence

TOML = """
schema = 1
node = {name = "n", data = "d", environment = "t"}
[signer]
socket = "ci.sock"
[log.ci]
name = "h/ci"
key = "k"
public_key = "p"
[log.fw]
name = "h/fw"
key = "k"
public_key = "p"
signer = "fw.sock"
"""
KEY = '[key.{id}]\nlog = "{log}"\nslots = ["s"]\npublic_key = "p"\nline = "a/b/c/d/{id}"\n'
KEY += 'mode = "proof"\nformat = "tlog-proof"\nclass = "{class_}"\n'
NO_EVIDENCE = Evidence(b"", ())


def view(origin: str, key: str, refused: int) -> m.StatusView:
    """A signer that also speaks of what is not its own."""
    keys = {name: m.KeyView(bytes(32), "l", origin, "s", name == key, "", 1, 1) for name in ("ci", "fw")}
    marks = {name: m.MarkView(5 if name == origin else 99, bytes(32), 7) for name in ("h/ci/1", "h/fw/1")}
    return m.StatusView(0, "1", marks, keys, {"s": m.SlotView(True, 1, refused, 0, "")}, {"PEER": refused})


@dataclass
class Guard:
    """Answers every call with yes, and remembers it."""

    path: Path
    view: m.StatusView
    asked: list[m.Ask] = field(default_factory=list)
    refuse: bool = False
    hang: bool = False
    server: asyncio.Server | None = None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def start(self) -> None:
        """Listen."""
        self.server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Hang up."""
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.close()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        frames = f.Frames(m.ask_decoder)
        writer.write(f.frame(f.Hello(f.VERSION)) + f.frame(self.view))
        while data := await reader.read(1 << 20):
            for ask in frames.feed(data):
                if not isinstance(ask, f.Hello):
                    self.asked.append(ask)
                    if self.hang:
                        continue
                    writer.write(f.frame(self._answer(ask)))

    def _answer(self, ask: m.Ask) -> m.Answer:
        assert not isinstance(ask, f.Hello)
        match ask:
            case _ if self.refuse:
                return m.Refused(ask.id, "SIGNER_STOPPING", "no", 100)
            case m.Status():
                return m.StatusView(ask.id, *[getattr(self.view, name) for name in m.StatusView.__struct_fields__[1:]])
            case m.Seal():
                return m.Sealed(ask.id, ask.size, 1, b"log\n", ())
            case m.Direct():
                return m.Directed(ask.id, (m.DirectSignature(b"s", 0, 1, "s", ""),))
            case m.Probe():
                return m.Probed(ask.id, {"s": 10})
            case _:
                return m.Done(ask.id)


@dataclass
class Both:
    """Two guards and the router."""

    ci: Guard
    fw: Guard
    signers: Signers
    heard: list[SignerStatus]
    lost: asyncio.Event  # one of them was


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    """A signer of test keys, one of a firmware key."""
    text = TOML + KEY.format(id="ci", log="ci", class_="test") + KEY.format(id="fw", log="fw", class_="firmware")
    config = msgspec.toml.decode(text, type=Config)
    ci = Guard(tmp_path / "ci.sock", view("h/ci/1", "ci", 2))
    fw = Guard(tmp_path / "fw.sock", view("h/fw/1", "fw", 3))
    heard: list[SignerStatus] = []
    lost = asyncio.Event()

    def hear(status: SignerStatus) -> None:
        heard.append(status)
        if len(heard) > 2 and len(status.keys) < 2:
            lost.set()

    signers = Signers(config, lambda value: resolve(tmp_path / "f", value), 1_000, hear)
    await ci.start()
    await fw.start()
    await signers.connect()
    yield Both(ci, fw, signers, heard, lost)
    await signers.close()
    await ci.stop()
    with contextlib.suppress(AttributeError):
        await fw.stop()


async def test_each_call_goes_to_its_signer(both: Both) -> None:
    """By origin or key; nothing of the firmware line reaches the other one."""
    signers = both.signers
    await signers.advance("h/fw/1", 6, bytes(32), b"", 8)
    await signers.seal("h/fw/1", 6, ["fw"])
    await signers.direct("fw", [DirectItem(bytes(61), bytes(32), 1, b"")], 6)
    await signers.stop("fw")
    await signers.lift("fw", NO_EVIDENCE)
    assert [type(ask) for ask in both.fw.asked] == [m.Advance, m.Seal, m.Direct, m.Stop, m.Lift]
    assert both.ci.asked == []
    await signers.seal("h/ci/1", 6, ["ci"])
    assert [type(ask) for ask in both.ci.asked] == [m.Seal]


async def test_a_head_and_the_call_under_it_are_sent_together(both: Both) -> None:
    """Each call is on its way before it is awaited: no other head comes between, and the token waits for no mark."""
    signers = both.signers
    calls = [signers.advance("h/ci/1", 6, bytes(32), b"", 8), signers.seal("h/ci/1", 6, ["ci"])]
    calls.append(signers.direct("ci", [DirectItem(bytes(61), bytes(32), 1, b"")], 6))
    await both.signers.status()  # sent after them, and answered first if they were not sent
    assert [type(ask) for ask in both.ci.asked] == [m.Advance, m.Seal, m.Direct, m.Status]
    await asyncio.gather(*calls)


async def test_what_is_not_a_signers_own_is_not_heard(both: Both) -> None:
    """Marks and keys come from their own signer; slots and counts from both, under names of their own."""
    assert (both.signers.ready("ci"), both.signers.ready("fw"), both.signers.ready("nobody")) == (True, True, False)
    for status in (await both.signers.status(), both.signers.cached, both.heard[-1]):
        assert status is not None
        assert {name: mark.size for name, mark in status.logs.items()} == {"h/ci/1": 5, "h/fw/1": 5}
        assert {name: key.ready for name, key in status.keys.items()} == {"ci": True, "fw": True}
        assert (set(status.slots), status.refused) == ({"s", "fw:s"}, {"PEER": 5})
    assert await both.signers.probe() == {"s": 10, "fw:s": 10}


async def test_stopping_everything_reaches_all_even_if_one_fails(both: Both) -> None:
    """The failure is told after every signer was asked."""
    both.ci.refuse = True
    with pytest.raises(Unavailable):
        await both.signers.stop(None)
    assert [type(guard.asked[-1]) for guard in (both.ci, both.fw)] == [m.Stop, m.Stop]


async def test_one_that_is_down_takes_down_its_own(both: Both) -> None:
    """The others sign on; a status that cannot tell of a log says nothing of it."""
    await both.fw.stop()
    await asyncio.wait_for(both.lost.wait(), 5)
    assert (both.signers.connected, both.signers.ready("ci")) == (False, True)
    assert set((await both.signers.status()).logs) == {"h/ci/1"}
    await both.signers.seal("h/ci/1", 6, ["ci"])
    with pytest.raises(Unavailable):
        await both.signers.seal("h/fw/1", 6, ["fw"])
    assert both.heard[-1].keys.keys() == {"ci"}


async def test_one_that_hangs_holds_up_its_own(both: Both) -> None:
    """What another signer knows of its log is heard meanwhile, not when the deadline of the first is over."""
    both.fw.hang = True
    mark = await asyncio.wait_for(both.signers.mark("h/ci/1"), 0.5)

    assert mark is not None
    assert 5 == mark.size
    assert not both.fw.asked


async def test_what_nobody_holds_is_refused(both: Both) -> None:
    """Unknown logs and keys reach no signer."""
    for call in (
        both.signers.seal("h/other/1", 1, []),
        both.signers.stop("nobody"),
        both.signers.lift("nobody", NO_EVIDENCE),
    ):
        with pytest.raises(NotPermitted):
            await call
    assert both.ci.asked + both.fw.asked == []


async def test_no_signer_at_all(both: Both) -> None:
    """The status is an error then, not an empty one."""
    both.ci.refuse = both.fw.refuse = True
    with pytest.raises(Refusal):
        await both.signers.status()
