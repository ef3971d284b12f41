"""Does a key that is stopped while its leaves wait for something sign nothing any more?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kit.acme import TEST, ask, digest
from kit.governed import Governed
from sealpress import flow
from sealpress.errors import Precondition, Unavailable
from sealpress.hsm.leaves import DirectItem
from sealpress.hsm.outcomes import DirectResult
from sealpress.steps import seal
from sealpress.steps._head import Witnessed
from sealpress.values import KeyClass
from sealpress.verify.note import checkpoint_text


async def test_a_key_stopped_while_witnesses_look_signs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may take minutes: what they cosigned is signed by a key that may sign then, not by one that might before."""
    async with asyncio.timeout(5), Governed(tmp_path, lines={TEST: KeyClass.TEST}, ticking=False) as node:
        await node.begin()
        line = node.shared.lines[TEST]
        line.held = True
        sealed = list[str]()
        signs = node.signer.seal

        def seen(origin: str, size: int, keys: list[str], *, hold: bool = False) -> Any:
            sealed.extend(keys)
            return signs(origin, size, keys, hold=hold)

        async def wait(*_: Any) -> Witnessed:
            await node.move(line.key, "suspend")
            head = line.log.head
            return Witnessed(head.size, checkpoint_text(line.log.log.origin, head.size, head.root), b"")

        monkeypatch.setattr(node.signer, "seal", seen)
        monkeypatch.setattr(flow._hold, "wait", wait)
        with pytest.raises(Precondition) as caught:
            await node.sign(ask(TEST, digest(1)))

        assert "KEY_NOT_ACTIVE" == caught.value.reason
        assert not sealed


@pytest.mark.parametrize("direct", [False, True], ids=["proof", "direct"])
async def test_a_key_stopped_while_its_signer_is_asked_signs_nothing(tmp_path: Path, direct: bool) -> None:
    """After a call that failed the signer is asked how far it knows the log, which may take it as long as a call."""
    async with (
        asyncio.timeout(5),
        Governed(tmp_path, lines={TEST: KeyClass.TEST}, direct=direct, ticking=False) as node,
    ):
        await node.begin()
        line, mark = node.shared.lines[TEST], node.signer.mark

        async def late(origin: str) -> Any:
            await node.move(line.key, "suspend")
            return await mark(origin)

        node.signer.mark = late  # type: ignore[method-assign]
        node.flow._heads[line.log.id]._told = None
        with pytest.raises(Precondition) as caught:
            await node.sign(ask(TEST, digest(1)))

        assert "KEY_NOT_ACTIVE" == caught.value.reason
        assert not node.signer.signed
        assert not any(node.signer.released.values())


async def test_a_key_stopped_while_it_signs_a_long_request_signs_no_more_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request may have so many leaves that a token is at work on them for minutes, a part of them after the other."""
    monkeypatch.setattr(seal, "DIRECT_PART", 1)
    async with (
        asyncio.timeout(5),
        Governed(tmp_path, lines={TEST: KeyClass.TEST}, direct=True, ticking=False) as node,
    ):
        await node.begin()
        direct = node.signer.direct

        async def stopping(key: str, items: list[DirectItem], size: int) -> list[DirectResult]:
            if not node.signer.released:
                await node.move(key, "suspend")
            return await direct(key, items, size)

        node.signer.direct = stopping  # type: ignore[method-assign]
        with pytest.raises(Unavailable) as caught:
            await node.sign(ask(TEST, *map(digest, range(3))))

        assert "PARTIAL" == caught.value.reason
        assert [1] == [len(released) for released in node.signer.released.values()]
