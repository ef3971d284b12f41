"""The link against a guard of the test's: loss, silence, pipelining, long lists."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from sealpress.errors import Damaged, Internal, Malformed, NotPermitted, OutcomeUnknown, Refusal, Unavailable
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.leaves import DirectItem
from sealpress.hsm.link import SignerLink
from sealpress.hsm.status import SignerStatus
from sealpress.steps._head import Head
from sealpress.steps._signer import Heads

VIEW = m.StatusView(
    0,
    "1",
    {"a/b/1": m.MarkView(5, bytes(32), 7)},
    {"k": m.KeyView(bytes(32), "a/b/c/d/e", "a/b/1", "s1", True, "", 5, 7)},
    {"s1": m.SlotView(True, 2, 10, 0, "")},
    {},
)
ITEM = DirectItem(bytes(61), bytes(32), 1, b"")
Answering = Callable[[m.Ask], m.Answer | None]


async def with_guard(
    path: Path, answering: Answering, work: Callable[[SignerLink], Awaitable[None]], deadline_ms: int = 2_000
) -> list[m.Ask]:
    """Run `work` against a guard that answers so (None: it hangs up); what the guard was asked."""
    asked: list[m.Ask] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = f.Frames(m.ask_decoder)
        writer.write(f.frame(f.Hello(f.VERSION)) + f.frame(VIEW))
        try:
            while data := await reader.read(1 << 20):
                for ask in frames.feed(data):
                    if isinstance(ask, f.Hello):
                        continue
                    asked.append(ask)
                    answer = answering(ask)
                    if answer is None:
                        return
                    writer.write(f.frame(answer))
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    link = SignerLink(path, deadline_ms)
    try:
        await link.connect()
        await work(link)
    finally:
        await link.close()
        server.close()
    return asked


def done(ask: m.Ask) -> m.Answer:
    """An agreeable guard."""
    assert not isinstance(ask, f.Hello)
    if isinstance(ask, m.Direct):
        return m.Directed(ask.id, tuple(m.DirectSignature(b"s%d" % i.index, 0, 1, "s1", "") for i in ask.items))
    if isinstance(ask, m.Seal):
        return m.Sealed(ask.id, ask.size, 9, b"log\n", tuple(m.SealedBy(k, b"l\n", 0, 1, "s1", "") for k in ask.keys))
    return m.Done(ask.id)


async def test_calls_are_sent_in_their_order(tmp_path: Path) -> None:
    """`advance` and the `seal` of the same head go out at once, in that order."""

    async def work(link: SignerLink) -> None:
        assert (link.connected, link.ready("k"), link.ready("nobody")) == (True, True, False)
        _, sealed, _ = await asyncio.gather(
            link.advance("a/b/1", 6, bytes(32), b"", 8), link.seal("a/b/1", 6, ["k"]), link.stop("k")
        )
        assert (sealed.size, sealed.time, sealed.lines["k"].line) == (6, 9, b"l\n")

    asked = await with_guard(tmp_path / "s", done, work)
    assert [type(ask) for ask in asked] == [m.Advance, m.Seal, m.Stop]


@pytest.mark.parametrize("first", [m.Refused(0, "VERSION", "this signer speaks version 4"), f.Hello(4)])
async def test_a_signer_of_another_release_is_told_from_none(tmp_path: Path, first: m.Answer) -> None:
    """Both versions are named, and what to do; when the same release is there the link goes on by itself."""
    answers = [f.frame(first)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(answers))
        await reader.read(1)
        if len(answers) == 1:
            writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "s"))
    link = SignerLink(tmp_path / "s", 300)
    with pytest.raises(Unavailable) as caught:
        await link.connect()
    with pytest.raises(Unavailable) as called:
        await link.status()
    answers[:] = [f.frame(f.Hello(f.VERSION)), f.frame(VIEW)]
    async with asyncio.timeout(5):
        await link._up.wait()
    await link.close()
    server.close()

    for refusal in (caught.value, called.value):
        assert f"this signer speaks version 4, this daemon version {f.VERSION}" in refusal.message
        assert "releases" in refusal.hint


async def test_long_lists_are_cut_and_put_together(tmp_path: Path) -> None:
    """More items than one message takes: the results come back in order."""
    items = [DirectItem(bytes(61), bytes(32), index, b"") for index in range(m.DIRECT_ITEMS_MAX * 2 + 3)]

    async def work(link: SignerLink) -> None:
        results = await link.direct("k", items, 6)
        assert [result.signature for result in results] == [b"s%d" % item.index for item in items]

    assert len(await with_guard(tmp_path / "s", done, work)) == 3


async def test_a_lost_guard_fails_what_is_under_way(tmp_path: Path) -> None:
    """Retryable for heads, unknown for direct signatures; then the link comes back by itself."""
    hang_up = True

    def answering(ask: m.Ask) -> m.Answer | None:
        return None if hang_up else done(ask)

    async def work(link: SignerLink) -> None:
        nonlocal hang_up
        with pytest.raises(Unavailable) as sealing:
            await link.seal("a/b/1", 6, ["k"])
        assert (sealing.value.reason, sealing.value.retry_after_ms > 0) == ("SLOT_DOWN", True)
        with pytest.raises(Unavailable) as unsent:
            await link.direct("k", [ITEM], 6)
        assert unsent.value.reason == "SLOT_DOWN"
        assert not link.ready("k")
        await link.connect()
        with pytest.raises(Unavailable) as sent:
            await link.direct("k", [ITEM], 6)
        assert sent.value.reason == "OUTCOME_UNKNOWN"
        hang_up = False
        await link.connect()
        await link.seal("a/b/1", 6, ["k"])

    await with_guard(tmp_path / "s", answering, work)


async def test_a_direct_call_that_went_out_with_its_head_is_unknown_when_both_are_lost(tmp_path: Path) -> None:
    """A token may have signed beside the mark's write: only a head that was refused leaves no signature behind."""
    refused: tuple[str, ...] = ()

    def answering(ask: m.Ask) -> m.Answer | None:
        if not refused:
            return None
        assert isinstance(ask, m.Advance | m.Direct)
        return m.Refused(ask.id, refused[isinstance(ask, m.Direct)], "no")

    async def work(link: SignerLink) -> None:
        nonlocal refused
        tree: Any = SimpleNamespace(growth=lambda old, new: b"")
        log: Any = SimpleNamespace(lines=(), head=Head(6, bytes(32), 8), log=SimpleNamespace(origin="a/b/1", tree=tree))
        heads = Heads(log, link, 5)
        for reason, *answers in (
            ("OUTCOME_UNKNOWN",),
            ("GROWTH_CAP", "GROWTH_CAP", "HEAD_NOT_ACCEPTED"),
            ("INTERNAL", "SIGNER_STOPPING", "INTERNAL"),  # a bug after the token had it
        ):
            refused = tuple(answers)
            await link.connect()
            heads._told = 5
            with pytest.raises(Refusal) as caught:
                await heads.under_newest(lambda size: link.direct("k", [ITEM], size))
            assert caught.value.reason == reason

    await with_guard(tmp_path / "s", answering, work)


async def test_a_seal_of_another_log_of_that_size_is_none_of_ours(tmp_path: Path) -> None:
    """Beside a daemon on a copy of the log: what the signer sealed is its head, and the node ends, exit 3."""

    def answering(ask: m.Ask) -> m.Answer:
        match ask:
            case m.Advance():
                return m.Refused(ask.id, "SIZE_NOT_GROWING", "no")
            case m.Status():
                return replace(VIEW, id=ask.id, logs={"a/b/1": m.MarkView(6, b"o" * 32, 8)})
        return done(ask)

    async def work(link: SignerLink) -> None:
        tree: Any = SimpleNamespace(growth=lambda old, new: b"")
        own: Any = SimpleNamespace(origin="a/b/1", tree=tree, size=6, root=lambda size: bytes(32))
        log: Any = SimpleNamespace(id="ci", lines=(), head=Head(6, bytes(32), 8), log=own)
        with pytest.raises(Damaged) as caught:
            await Heads(log, link, 5).under_newest(lambda size: link.seal("a/b/1", size, ["k"]))
        assert caught.value.reason == "LOG_DIFFERS_FROM_MARK"

    await with_guard(tmp_path / "s", answering, work)


async def test_a_silent_guard_is_waited_for_once(tmp_path: Path) -> None:
    """No call outlasts its deadline; a late answer to it is nobody's."""

    def answering(ask: m.Ask) -> m.Answer:
        return m.StatusView(1 << 40, "1", {}, {}, {}, {}) if isinstance(ask, m.Seal) else done(ask)

    async def work(link: SignerLink) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await link.seal("a/b/1", 6, ["k"])
        assert asyncio.get_running_loop().time() - began < 1
        await link.advance("a/b/1", 6, bytes(32), b"", 8)

    await with_guard(tmp_path / "s", answering, work, deadline_ms=200)


@pytest.mark.parametrize(
    ("reason", "retry_ms", "kind"),
    [
        ("INCONSISTENT", 0, Malformed),
        ("HEAD_NOT_CURRENT", 10, Unavailable),
        ("STOPPED", 0, NotPermitted),
        ("OUTCOME_UNKNOWN", 0, OutcomeUnknown),
        ("INTERNAL", 0, Internal),
    ],
)
async def test_refusals_keep_their_reason(tmp_path: Path, reason: str, retry_ms: int, kind: type[Refusal]) -> None:
    """The guard's reason comes out as an error that says what to do next."""

    def answering(ask: m.Ask) -> m.Answer:
        assert not isinstance(ask, f.Hello)
        return m.Refused(ask.id, reason, "no", retry_ms)

    async def work(link: SignerLink) -> None:
        with pytest.raises(kind) as caught:
            await link.seal("a/b/1", 6, ["k"])
        assert (caught.value.reason, caught.value.retry_after_ms) == (reason, retry_ms)

    await with_guard(tmp_path / "s", answering, work)


async def test_changes_are_heard(tmp_path: Path) -> None:
    """Each push arrives, and a loss arrives as an empty status."""
    heard: list[SignerStatus] = []
    lost = asyncio.Event()

    def hear(status: SignerStatus) -> None:
        heard.append(status)
        if len(heard) == 2:
            lost.set()

    path = tmp_path / "s"

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f.frame(VIEW))
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    link = SignerLink(path, 1_000, hear)
    await link.connect()
    await asyncio.wait_for(lost.wait(), 5)
    server.close()
    await link.close()

    assert heard[0].keys["k"].ready
    assert heard[1].keys == {}
