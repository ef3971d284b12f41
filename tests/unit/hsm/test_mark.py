"""Marks: what is written is found again, and a torn write costs nothing that was released."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from sealpress.core.mark import SLOT_BYTES
from sealpress.core.merkle import Tree
from sealpress.errors import Damaged
from sealpress.hsm.mark import KEYS_MAX, HeadMark, MarkFile, Signed, decode, encode

ORIGIN = "sign.example/ci/1"


def mark_of(size: int) -> HeadMark:
    """A mark that is true to itself."""
    tree = Tree()
    tree.append(bytes(32) * size)
    return HeadMark(ORIGIN, size, tree.root(), tree.frontier(size), 1_800_000_000 + size)


def test_a_mark_survives_its_encoding() -> None:
    """Origin, head, frontier, times and keys come back as they were."""
    signed = MappingProxyType({bytes([i]) * 8: Signed(i, 1_800_000_000 + i) for i in range(KEYS_MAX)})
    mark = HeadMark("a" * 300, (1 << 62) - 1, b"r" * 32, b"f" * 32 * 62, (1 << 63) - 1, signed)

    assert decode(encode(mark, 7)) == (7, mark)


def test_any_changed_byte_is_seen() -> None:
    """A slot with one flipped bit is no slot."""
    slot = encode(mark_of(5), 3)

    assert all(decode(slot[:at] + bytes([slot[at] ^ 1]) + slot[at + 1 :]) is None for at in range(0, SLOT_BYTES, 7))


def test_what_was_written_is_found(tmp_path: Path) -> None:
    """A new file is empty; after each write a reopened file has that mark."""
    file = MarkFile(tmp_path, ORIGIN)
    assert file.mark == HeadMark(ORIGIN)
    for size in (1, 2, 5):
        file.begin(mark_of(size))
        file.ended()
        again = MarkFile(tmp_path, ORIGIN)
        assert again.mark == mark_of(size)
        again.close()
    file.close()


def test_a_name_that_a_stopped_process_made_is_durable_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the rename and the sync of the directory: the next one syncs it, or a power cut takes the mark."""
    synced: list[Path] = []

    def stopped(directory: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sealpress.hsm.mark.sync_directory", stopped)
    with pytest.raises(KeyboardInterrupt):
        MarkFile(tmp_path, ORIGIN)
    monkeypatch.setattr("sealpress.hsm.mark.sync_directory", synced.append)
    MarkFile(tmp_path, ORIGIN).close()

    assert synced == [tmp_path]


@pytest.mark.parametrize("torn", [0, 1, 512, SLOT_BYTES - 1])
def test_a_torn_write_leaves_the_mark_before_it(tmp_path: Path, torn: int) -> None:
    """The slot under way is damaged: the other one counts, and the next write heals."""
    file = MarkFile(tmp_path, ORIGIN)
    file.begin(mark_of(1))
    file.ended()
    file.begin(mark_of(2))
    file.ended()
    at = SLOT_BYTES * (file.generation % 2)
    file.close()
    content = bytearray(file.path.read_bytes())
    content[at + torn : at + SLOT_BYTES] = b"\xff" * (SLOT_BYTES - torn)
    file.path.write_bytes(content)

    again = MarkFile(tmp_path, ORIGIN)
    assert again.mark == mark_of(1)
    again.begin(mark_of(3))
    again.ended()
    again.close()
    third = MarkFile(tmp_path, ORIGIN)
    assert third.mark == mark_of(3)
    third.close()


@pytest.mark.parametrize("content", [b"", bytes(2 * SLOT_BYTES), b"\xff" * 2 * SLOT_BYTES])
def test_two_damaged_slots_are_never_an_empty_mark(tmp_path: Path, content: bytes) -> None:
    """Nothing is signed on a guess: Damaged, with the next step."""
    file = MarkFile(tmp_path, ORIGIN)
    file.close()
    file.path.write_bytes(content)

    with pytest.raises(Damaged) as caught:
        MarkFile(tmp_path, ORIGIN)
    assert caught.value.reason == "MARK_DAMAGED"
    assert caught.value.hint


def test_the_mark_of_another_log_is_refused(tmp_path: Path) -> None:
    """A file put in another's place is seen."""
    mine, other = MarkFile(tmp_path, ORIGIN), MarkFile(tmp_path, "sign.example/ci/2")
    mine.close()
    other.close()
    mine.path.write_bytes(other.path.read_bytes())

    with pytest.raises(Damaged):
        MarkFile(tmp_path, ORIGIN)
