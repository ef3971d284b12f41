"""How often is a PIN tried? Counted at the token, whoever restarts the signer and however often."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import shim
from kit.clock import VirtualClock
from kit.signer import SOFTHSM, LocalSigner, Node, make_node
from sealpress.errors import CannotStart

KEYS = {"proof-ed25519": ("ed25519", "main", "proof", "tlog-proof")}
FINAL_TRY, LOCKED = 0x20000, 0x40000
PIN_LOCKED = 0xA4


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A provisioned token behind the shim."""
    return make_node(tmp_path / "n", keys=KEYS, module=str(shim.built()), sessions=1)


@pytest.fixture
def counters(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[shim.Shim]:
    """What the token saw."""
    with shim.Shim(tmp_path / "counters", SOFTHSM) as page:
        for name, value in {**page.env, "SOFTHSM2_CONF": node.env["SOFTHSM2_CONF"]}.items():
            monkeypatch.setenv(name, value)
        yield page


def workers() -> list[int]:
    """Processes that this one has started and that run a slot."""
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"sealpress.hsm.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


async def started(node: Node) -> str:
    """A signer's start from nothing but its files, and its end: why it did not start, or nothing."""
    signer = LocalSigner(node, VirtualClock(1_800_000_000))
    try:
        await signer.guard.start()
    except CannotStart as error:
        return error.reason
    finally:
        await signer.guard.close()
        signer.state.close()
    return ""


async def test_fifty_restarts_try_a_wrong_pin_once(node: Node, counters: shim.Shim) -> None:
    """A supervisor starts the signer 50 times: the token sees one C_Login; the right PIN then is tried, and works."""
    right = (node.directory / "pin").read_text()
    (node.directory / "pin").write_text("not-the-pin")
    assert [await started(node) for _ in range(50)] == ["PIN_REJECTED"] * 50
    assert counters["C_Login"] == 1

    (node.directory / "pin").write_text(right)
    assert await started(node) == ""
    assert counters["C_Login"] == 2


@pytest.mark.parametrize("flag", [FINAL_TRY, LOCKED])
async def test_a_token_about_to_lock_sees_no_pin(node: Node, counters: shim.Shim, flag: int) -> None:
    """One try is left, or none: no C_Login at all, and the last try is a person's."""
    rule = counters.inject("C_GetTokenInfo", shim.token_flags(flag))
    assert [await started(node) for _ in range(3)] == ["TOKEN_LOCKED"] * 3
    assert counters["C_Login"] == 0

    rule.remove()
    assert await started(node) == ""


async def test_the_guards_own_restarts_try_a_wrong_pin_once(node: Node, counters: shim.Shim) -> None:
    """The PIN was changed while the signer ran, and its workers die: of those that come and go one tries it."""
    node.edit("worker_backoff_ms = 100", "worker_backoff_ms = 10\nworker_backoff_ms_max = 10")
    async with LocalSigner(node, VirtualClock(1_800_000_000)):
        assert counters["C_Login"] == 1
        (node.directory / "pin").write_text("not-the-pin")
        calls = counters["C_Initialize"]
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while counters["C_Initialize"] < calls + 5:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        assert counters["C_Login"] == 2


async def test_a_lock_says_nothing_of_the_pin(node: Node, counters: shim.Shim) -> None:
    """Others' wrong PINs locked the token, and no flag told: when it is open again, the PIN that is right works."""
    rule = counters.inject("C_Login", shim.answer(PIN_LOCKED))
    assert await started(node) == "TOKEN_LOCKED"

    rule.remove()
    assert await started(node) == ""


async def test_a_pipe_for_a_pin_file_is_told(node: Node, counters: shim.Shim) -> None:
    """Nobody waits for whoever might write into it: a login is done again whenever it is lost."""
    (node.directory / "pin").unlink()
    os.mkfifo(node.directory / "pin")
    async with asyncio.timeout(20):
        assert await started(node) == "PIN_FILE"
    assert counters["C_Login"] == 0
