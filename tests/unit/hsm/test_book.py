"""The guard's account of a log is ahead of the disk, and whoever waits for the disk is not told too early."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sealpress.core.merkle import Tree
from sealpress.errors import Damaged
from sealpress.hsm.book import LogBook
from sealpress.hsm.heads import HeadLimits
from sealpress.hsm.mark import KEYS_MAX, MarkFile, Signed

NOW = 1_800_000_000
LIMITS = HeadLimits(300, 2, 1_000)


async def test_nobody_is_told_before_the_disk_has_his_change(tmp_path: Path) -> None:
    """One that comes while an earlier one is being written waits for a write of its own; all are told, in order."""
    failures: list[Damaged] = []
    book = LogBook(tmp_path, "sign.example/ci/1", LIMITS, failures.append)
    book.start(NOW)
    tree = Tree()
    told: list[tuple[int, bool]] = []

    def change(size: int) -> None:
        tree.append(bytes(32))
        book.accept(size, tree.root(), tree.growth(size - 1, size), NOW, NOW, 1)
        book.when_durable(lambda failure: told.append((size, failure is None and book._file.mark.size >= size)))

    for size in range(1, 100):
        change(size)
        if size % 4 == 0:
            await asyncio.sleep(0)  # a write begins
        if size % 20 == 0:
            await book.durable()
    await book.durable()
    await book.close()

    assert [(size, True) for size in range(1, 100)] == told
    assert not failures


async def test_lines_may_be_rotated_for_ever(tmp_path: Path) -> None:
    """A log whose mark once was full of keys signs with as many new ones; of the old ones the newest are remembered."""
    failures: list[Damaged] = []
    kept: dict[bytes, Signed] = {}
    for year in range(5):
        keys = [bytes([year, number]) * 4 for number in range(KEYS_MAX - 4 * year)]
        book = LogBook(tmp_path, "sign.example/ci/1", LIMITS, failures.append, keys=keys)
        book.start(NOW)
        for number, key in enumerate(keys):
            kept[key] = Signed(0, book.cosign([key], NOW + 1_000 * year + number))
        await book.durable()
        await book.close()

    mark = MarkFile(tmp_path, "sign.example/ci/1").mark
    assert mark.signed == dict(list(kept.items())[-KEYS_MAX:])
    assert not failures
