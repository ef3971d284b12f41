"""Does the loop hear of the end of each piece of work, in order, whatever becomes of it?"""

from __future__ import annotations

import asyncio

from sealpress.hsm.aside import Aside


async def test_the_loop_hears_of_each_end() -> None:
    """None for a piece that was done, the error for one that failed, and the thread goes on."""
    ends: asyncio.Queue[Exception | None] = asyncio.Queue()
    done: list[int] = []

    def work(piece: int) -> None:
        if piece == 2:
            raise OSError("no disk")
        done.append(piece)

    aside = Aside(work, ends.put_nowait, "aside")
    told = []
    for piece in (1, 2, 3):
        aside.begin(piece)
        told.append(await asyncio.wait_for(ends.get(), 5))
    aside.close()
    assert done == [1, 3]
    assert [type(one) for one in told] == [type(None), OSError, type(None)]


async def test_close_waits_for_what_is_under_way() -> None:
    """When it is closed the last piece is done, and nobody hears of it any more."""
    heard: list[Exception | None] = []
    done: list[int] = []
    aside = Aside(done.append, heard.append, "aside")
    aside.begin(1)
    aside.close()
    await asyncio.sleep(0.01)
    assert done == [1]
    assert heard == []
