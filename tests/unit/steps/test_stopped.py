"""Does a key that is stopped while its leaves wait for something sign nothing any more?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kit.acme import TEST, ask, digest
from kit.governed import Governed
from sealpress import flow
from sealpress.errors import Precondition
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
        seal = node.signer.seal

        def seen(origin: str, size: int, keys: list[str], *, hold: bool = False) -> Any:
            sealed.extend(keys)
            return seal(origin, size, keys, hold=hold)

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
