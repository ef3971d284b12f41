"""Is the line of a recorded leaf found among any number of lines?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from kit.governed import Governed
from sealpress.values import KeyClass


async def _opened(place: Path) -> None:
    lines = {f"acme/router/eu/test/l{number}": KeyClass.TEST for number in range(5)}
    async with Governed(place, lines=lines, governed=False) as node:
        shared: Any = node.shared
        kept, shared.keys = shared.keys, None  # whoever looks through all of them fails
        for line, other in zip(kept, [*kept[1:], kept[0]], strict=True):
            assert shared.line_of(line.name, line.key_id) is line
            assert shared.line_of(other.name, line.key_id) is None
        assert shared.line_of(kept[0].name, bytes(32)) is None
        shared.keys = kept


def test_a_line_is_found_by_its_key(tmp_path: Path) -> None:
    """A request that is asked for again, and what a start takes up, costs the same with one line and with thousands."""
    asyncio.run(_opened(tmp_path))
