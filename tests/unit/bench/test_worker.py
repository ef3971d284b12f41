"""Does a process of the load generator tell of every call that it made, and make none that was made before?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from bench.load import worker
from bench.load.plan import Part, Plan
from bench.load.worker import Load
from sealpress.v1 import signing_pb2 as pb

IN_FLIGHT = 4


class Stub:
    """A node's SigningService; of a stream it answers all items, or all but the first `lost`, and ends it in order."""

    def __init__(self, lost: int = 0) -> None:
        """Nothing was asked yet."""
        self._lost = lost
        self.asked: list[str] = []

    async def Sign(self, request: pb.SignRequest, **_: float) -> pb.SignResponse:  # noqa: N802 - of the protos
        """A proof."""
        await asyncio.sleep(0)
        self.asked.append(request.request_id)
        return pb.SignResponse(request_id=request.request_id, proof=b"proof")

    def SignStream(self, **_: float) -> Stream:  # noqa: N802 - of the protos
        """One stream."""
        return Stream(self.asked, self._lost)


class Stream:
    """The call of a SignStream, as grpc.aio has it."""

    def __init__(self, asked: list[str], lost: int) -> None:
        """Nothing was written yet."""
        self._items: asyncio.Queue[str | None] = asyncio.Queue()
        self._asked, self._lost = asked, lost

    async def write(self, request: pb.SignRequest) -> None:
        """It has arrived."""
        await asyncio.sleep(0)
        await self._items.put(request.request_id)

    async def done_writing(self) -> None:
        """The last one was written."""
        await self._items.put(None)

    async def __aiter__(self) -> AsyncIterator[pb.SignResponse]:
        """The answers."""
        while (request_id := await self._items.get()) is not None:
            self._asked.append(request_id)
            if len(self._asked) > self._lost:
                yield pb.SignResponse(request_id=request_id, proof=b"proof")


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody connects."""
    monkeypatch.setattr(worker, "load_client", lambda _: SimpleNamespace(signing="127.0.0.1:1"))
    monkeypatch.setattr(worker, "credentials", lambda _: None)


def saw(stub: Stub, **settings: Any) -> Part:
    """What a process tells after a short load."""
    load = Load(Plan(client="", line="line", in_flight=IN_FLIGHT, seconds=0.02, warmup_s=0.0, **settings))
    load._stubs = [stub]
    return asyncio.run(load.run(time.monotonic()))


@pytest.mark.parametrize("rate", [0.0, 2_000.0])
def test_an_item_that_is_never_answered_has_failed(rate: float) -> None:
    """A node that swallows items of a stream has not served them, however quick its other answers are."""
    part = saw(Stub(lost=IN_FLIGHT - 1), kind="stream", rate=rate)

    assert part.answers
    assert {"UNANSWERED": IN_FLIGHT - 1} == part.failed


def test_what_is_answered_has_not_failed() -> None:
    """A stream whose items all have their answers is told as such."""
    part = saw(Stub(), kind="stream")

    assert part.answers
    assert not part.failed


def test_no_request_of_a_load_is_one_of_the_load_before() -> None:
    """A second load of the same plan would get the answers of the first, had its requests the same ids."""
    stub = Stub()
    for _ in range(2):
        saw(stub)

    assert len(set(stub.asked)) == len(stub.asked)
