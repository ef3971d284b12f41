"""Does one token operation seal a whole batch? A shim in front of the token counts."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from kit.node import PROOF, PROOF_P256, Node
from sealpress.values import DigestAlgorithm
from sealpress.verify.proof import verify_proof

CALLERS = 64
EACH = 20
SHA256 = DigestAlgorithm.SHA256


async def sign_all(node: Node, lines: list[str]) -> dict[bytes, tuple[str, bytes]]:
    """64 callers, each one request after the other; digest to line and proof."""
    found: dict[bytes, tuple[str, bytes]] = {}
    async with node.aclient() as client:

        async def one(number: int) -> None:
            for count in range(EACH):
                digest = hashlib.sha256(f"{number}/{count}".encode()).digest()
                line = lines[number % len(lines)]
                found[digest] = (line, (await client.sign(digest, line=line)).proof)

        await asyncio.gather(*(one(number) for number in range(CALLERS)))
    return found


@pytest.mark.timing
@pytest.mark.parametrize("lines", [[PROOF], [PROOF, PROOF_P256]])
def test_one_token_operation_seals_a_batch(lines: list[str]) -> None:
    """64 unary callers, 5 ms an operation: at most one per batch and line, under a quarter of the requests."""
    with Node(shim=True) as node:
        node.shim.delay("C_Sign", 5)
        before = node.shim["C_Sign"]
        found = asyncio.run(sign_all(node, lines))
        operations = node.shim["C_Sign"] - before
        batches = node.metrics()['sealpress_batch_requests_count{log="ci"}']
        policies = {line: node.trust(line) for line in lines}

    assert len(found) == CALLERS * EACH
    indices = {verify_proof(policies[line], SHA256, digest, proof).index for digest, (line, proof) in found.items()}
    assert len(indices) == CALLERS * EACH  # each answer's proof is its own
    assert operations <= batches * len(lines)
    assert operations < CALLERS * EACH / 4
    print(f"{CALLERS * EACH} requests, {batches:.0f} batches, {operations} token operations")  # noqa: T201
