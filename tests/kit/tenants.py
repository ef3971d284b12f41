"""Several tenants at one node, each at a rate of its own, open loop: what each was served, and how long it waited.

Guarantees: each tenant has a connection of its own; a call is counted from the moment when it was due, so that a late
generator makes nobody look quick. Does not: retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from kit.node import Node
from sealpress import loop as event_loop
from sealpress.client import AsyncClient
from sealpress.errors import SealpressError


@dataclass(slots=True)
class Served:
    """Of one line."""

    waited_ms: list[float] = field(default_factory=list)
    in_time: int = 0  # answered before the last call was due: what it got while all of them asked
    refused: Counter[str] = field(default_factory=Counter)  # by reason


def quantile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def jain(values: list[float]) -> float:
    """Jain's index of fairness: 1 if all are equal, 1/n if one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def offer(node: Node, rates: Mapping[str, float], seconds: float, warmup_s: float = 1.0) -> dict[str, Served]:
    """Offer so many calls a second to each line, for so long; what came after the warm-up."""
    return event_loop.run(_offer(node, rates, seconds, warmup_s))


async def _offer(node: Node, rates: Mapping[str, float], seconds: float, warmup_s: float) -> dict[str, Served]:
    served = {line: Served() for line in rates}
    async with contextlib.AsyncExitStack() as stack:
        begin = asyncio.get_running_loop().time() + 0.5
        calls = []
        for number, (line, rate) in enumerate(rates.items()):
            client = await stack.enter_async_context(node.aclient(attempts_max=1, timeout_s=10))
            due = begin + number / len(rates) / rate  # not all at the same moment
            calls.append(_tenant(client, line, rate, due, seconds, warmup_s, served[line]))
        await asyncio.gather(*calls)
    return served


async def _tenant(
    client: AsyncClient, line: str, rate: float, begin: float, seconds: float, warmup_s: float, served: Served
) -> None:
    loop = asyncio.get_running_loop()

    async def call(due: float) -> None:
        try:
            await client.sign(hashlib.sha256(os.urandom(16)).digest(), line=line)
        except SealpressError as error:
            served.refused[error.reason] += due >= begin + warmup_s
        else:
            if due >= begin + warmup_s:
                served.waited_ms.append(1_000 * (loop.time() - due))
            served.in_time += begin + warmup_s <= loop.time() < begin + warmup_s + seconds

    async with asyncio.TaskGroup() as calls:
        for number in range(round(rate * (seconds + warmup_s))):
            due = begin + number / rate
            await asyncio.sleep(due - loop.time())
            calls.create_task(call(due))
