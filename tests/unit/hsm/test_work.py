"""What a worker may say to the guard: its process is the module's as much as ours, so all of it has bounds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kit.entropy import SeededEntropy
from sealpress.errors import Malformed
from sealpress.hsm import frames as f
from sealpress.hsm import work as w
from sealpress.hsm.state import State

LONG = "x" * (1 << 20)
STOCK = w.Stock("maker", "serial", (0x1041,), {"k1": w.KeyStock({"sign": True}, 7)}, (), 0)
STRANGER = w.Stranger("label", b"\1", bytes(32))
FAILED = w.WorkerFailed("TOKEN_FAILED", "why", "what to do", False, bytes(32))
LIES: dict[str, msgspec.Struct] = {
    "sessions without end": w.WorkerReady(1 << 40, False),
    "fewer than none": w.WorkerSigned(1, (), -1),
    "a limit without end": w.WorkerPong(1, 1, 0, 1 << 40),
    "a long reason": msgspec.structs.replace(FAILED, reason=LONG),
    "a long message": msgspec.structs.replace(FAILED, message=LONG),
    "a long hint": msgspec.structs.replace(FAILED, hint=LONG),
    "a long tag": msgspec.structs.replace(FAILED, tag=bytes(1 << 20)),
    "a long maker": w.WorkerStocked(msgspec.structs.replace(STOCK, maker=LONG)),
    "a stranger with a long label": w.WorkerStocked(
        msgspec.structs.replace(STOCK, strangers=(msgspec.structs.replace(STRANGER, label=LONG),))
    ),
    "strangers without end": w.WorkerStocked(
        msgspec.structs.replace(STOCK, strangers=(STRANGER,) * (w.STRANGERS_MAX + 1))
    ),
    "a long signature": w.WorkerSigned(1, (w.WorkerResult(bytes(1 << 20), 0, 1, True),), 1),
    "less than no time": w.WorkerSigned(1, (w.WorkerResult(b"s", 0, -1, True),), 1),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_worker_says_beyond_its_bounds_does_not_decode(lie: str) -> None:
    """Else one slot's module would fill the guard's memory, or the status that every front end waits for."""
    with pytest.raises(Malformed):
        f.Frames(w.from_worker_decoder).feed(f.frame(LIES[lie]))


def test_what_an_honest_worker_says_decodes() -> None:
    """Up to its bounds."""
    honest = (
        FAILED,
        w.WorkerReady(w.SESSIONS_MAX, True),
        w.WorkerStocked(msgspec.structs.replace(STOCK, strangers=(STRANGER,) * w.STRANGERS_MAX)),
        w.WorkerSigned(1, (w.WorkerResult(bytes(4_627), (1 << 64) - 1, 1, True),), 1),
    )
    for message in honest:
        assert [message] == f.Frames(w.from_worker_decoder).feed(f.frame(message))


def test_what_is_no_tag_is_not_remembered(tmp_path: Path) -> None:
    """The next worker would refuse to log in with it, and every one after a restart."""
    state = State(tmp_path, SeededEntropy())
    state.reject("s1", b"short")
    assert () == state.rejected("s1")
    state.close()


def test_a_refusal_echoes_little_of_what_was_sent() -> None:
    """An unknown name of a megabyte is not told back, nor written to anybody's log."""
    body = msgspec.msgpack.encode({"type": "WorkerStock", LONG: 1})
    with pytest.raises(Malformed) as caught:
        f.Frames(w.to_worker_decoder).feed(f.PREFIX.pack(len(body)) + body)
    assert len(caught.value.message) < 400
