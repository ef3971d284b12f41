"""Does the guard without a token hold the flow to what a guard demands?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.clock import VirtualClock
from kit.soft_signer import SoftSigner
from sealpress.core.merkle import Tree
from sealpress.errors import Refusal
from sealpress.hsm.leaves import DirectItem

ORIGIN = "sign.example/lines/1"
HASHES = [bytes([number]) * 32 for number in range(1, 5)]
ITEM = DirectItem(bytes(61), bytes(32), 1, b"")


def knowing(leaves: int) -> tuple[SoftSigner, Tree]:
    """A signer that has accepted a log of so many leaves, and the log with one more."""
    tree = Tree()
    tree.append(b"".join(HASHES[:leaves]))
    signer = SoftSigner(VirtualClock())
    signer.logs[ORIGIN] = Ed25519PrivateKey.generate()
    signer.keys["k"] = (Ed25519PrivateKey.generate(), "sign.example/lines/line")
    signer.known(ORIGIN, tree)
    tree.append(HASHES[leaves])
    return signer, tree


async def _twice(signer: SoftSigner, tree: Tree) -> None:
    for _ in range(2):
        await signer.direct("k", [ITEM], 2)


BREACHES: dict[str, tuple[str, Callable[[SoftSigner, Tree], Awaitable[Any]]]] = {
    "a head that it has": ("SIZE_NOT_GROWING", lambda s, t: s.advance(ORIGIN, 2, t.root(2), b"", 1)),
    "a head behind it": ("SIZE_NOT_GROWING", lambda s, t: s.advance(ORIGIN, 1, t.root(1), b"", 1)),
    "another log's head": ("INCONSISTENT", lambda s, t: s.advance(ORIGIN, 3, bytes(32), t.growth(2, 3), 1)),
    "no path": ("INCONSISTENT", lambda s, t: s.advance(ORIGIN, 3, t.root(), b"", 1)),
    "a head not told": ("HEAD_NOT_CURRENT", lambda s, _: s.seal(ORIGIN, 3, ["k"])),
    "a key twice": ("BAD_REQUEST", lambda s, _: s.seal(ORIGIN, 2, ["k", "k"])),
    "a leaf twice": ("ALREADY_SIGNED", _twice),
    "a leaf in no head": ("ALREADY_SIGNED", lambda s, _: s.direct("k", [ITEM], 1)),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_a_flow_that_breaks_the_contract_is_told_and_found_out(breach: str) -> None:
    """It hears what a guard would say, and the test's node does not close in peace."""
    reason, does = BREACHES[breach]
    signer, tree = knowing(2)
    with pytest.raises(Refusal) as refusal:
        await does(signer, tree)

    assert refusal.value.reason == reason
    assert signer.broken == [reason]


async def test_an_honest_flow_is_served() -> None:
    """A head that grows is accepted and sealed, a leaf under it signed; from a stop on no leaf is."""
    signer, tree = knowing(2)
    await signer.advance(ORIGIN, 3, tree.root(), tree.growth(2, 3), 1)
    sealed = await signer.seal(ORIGIN, 3, ["k"])
    (result,) = await signer.direct("k", [ITEM], 3)
    await signer.stop("k")
    with pytest.raises(Refusal, match="stopped"):
        await signer.direct("k", [ITEM], 3)

    assert sealed.size == 3
    assert sealed.lines["k"].line
    assert result.signature
    assert signer.broken == []
