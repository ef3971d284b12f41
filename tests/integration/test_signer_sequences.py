"""A front end that mixes honesty and lies in any order: a model knows how often the token may sign, to the operation.

Each sequence has a guard, a token and a log of its own, so that what hypothesis finds it can also shrink.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit import shim
from kit.front import NOW, accepted
from kit.liar import DIRECT_LINE, KEYS_USED, LASTING, SHAPES, Liar, told
from kit.signer import ORIGIN, Node, make_node
from sealpress.errors import Refusal
from sealpress.hsm.leaves import DirectItem

LIES = sorted(set(SHAPES) - LASTING)
number = st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("lie"), st.sampled_from(LIES)),
    st.tuples(st.just("grow"), number),
    st.tuples(st.just("leaf"), number),
    st.tuples(st.just("seal"), number),
    st.tuples(st.just("sign"), number),
    st.tuples(st.just("lies at once"), st.lists(st.sampled_from(LIES), min_size=2, max_size=4)),
    st.tuples(st.just("sign twice at once"), number),
    st.tuples(st.just("stop"), st.sampled_from(["proof-p256", "direct-p256", None])),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A provisioned node that sequences copy."""
    directory = tmp_path_factory.mktemp("sequences")
    yield make_node(directory / "n", keys=KEYS_USED, module=str(shim.built()), signer="leaves_per_minute_max = 1000")


@dataclass
class Model:
    """What an honest observer knows: the leaves of accepted heads, those that had their signature, what is stopped."""

    front: Liar
    leaves: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    signed: set[int] = field(default_factory=set)
    stopped: set[str | None] = field(default_factory=set)
    operations: int = 0
    size: int = 0

    async def step(self, kind: str, what: Any) -> None:
        """Do it, and expect of it what the model says."""
        front = self.front
        match kind:
            case "lie":
                await self._refused(SHAPES[what][1](front))
            case "lies at once":
                await asyncio.gather(*(self._refused(SHAPES[one][1](front)) for one in what))
            case "grow":
                front.log.event(NOW, what + 1)
                await told(front)
            case "leaf":
                digest = hashlib.sha256(bytes([what])).digest()
                leaf = (*front.log.direct(front.node.public("direct-p256"), DIRECT_LINE, digest, NOW), digest)
                await told(front)
                self.leaves.append(leaf)
            case "seal":
                await self._seal()
            case "sign":
                await self._sign(self.leaves[what % len(self.leaves)])
            case "sign twice at once":
                leaf = self.leaves[what % len(self.leaves)]
                await asyncio.gather(self._sign(leaf), self._sign(leaf))
            case "stop":
                await front.link.stop(what)
                self.stopped.add(what)

    async def _refused(self, attempt: Any) -> None:
        with pytest.raises(Refusal):
            await attempt

    async def _seal(self) -> None:
        seal = self.front.link.seal(ORIGIN, self.front.log.told, ["proof-p256"])
        if None in self.stopped:
            await self._refused(seal)
            return
        line = (await seal).lines["proof-p256"]
        assert (line.reason == "STOPPED", line.line == b"") == ("proof-p256" in self.stopped,) * 2
        self.operations += "proof-p256" not in self.stopped

    async def _sign(self, leaf: tuple[int, bytes, bytes]) -> None:
        fresh = leaf[0] not in self.signed and not self.stopped & {"direct-p256", None}
        self.signed |= {leaf[0]} if fresh else set()
        self.operations += fresh
        index, opening, digest = leaf
        size = self.front.log.told
        item = DirectItem(opening, digest, index, self.front.log.tree.inclusion(index, size))
        try:
            (result,) = await self.front.link.direct("direct-p256", [item], size)
        except Refusal as refusal:
            assert (refusal.reason, fresh) == ("STOPPED", False)
        else:
            assert (result.reason == "", bool(result.signature)) == (fresh, fresh), result.reason

    async def check(self) -> None:
        """The token signed what the model counted, and the mark is the honest log's, never behind what it was."""
        assert self.front.counters["C_Sign"] == self.operations
        mark = (await self.front.link.status()).logs[ORIGIN]
        assert mark.size == self.front.log.told >= self.size
        assert mark.root == self.front.log.tree.root(mark.size)
        self.size = mark.size


async def play(template: Node, steps: list[tuple[str, Any]]) -> None:
    """One sequence from the beginning."""
    with tempfile.TemporaryDirectory(prefix="sp-", dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        async with accepted(Liar, template, Path(name), patch) as front:
            model = Model(front, [front.leaf])
            for kind, what in steps:
                await model.step(kind, what)
                await model.check()


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=8, max_size=24))
def test_no_sequence_gets_more_signatures_than_leaves(template: Node, steps: list[tuple[str, Any]]) -> None:
    """No C_Sign but for an accepted head or a leaf in one, none twice, none once stopped; marks only grow."""
    asyncio.run(play(template, steps))
