"""A front end that may lie: a guard in this process on a token behind the counting shim, and a log to show it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from kit import shim
from kit.clock import VirtualClock
from kit.signer import ORIGIN, SOFTHSM, FakeLog, LocalSigner, Node, line_of
from sealpress.hsm.link import SignerLink

NOW = 1_800_000_000
DIGEST = hashlib.sha256(b"artifact").digest()


@dataclass
class Front:
    """What a test has of it; `leaf` is an honest direct leaf of the accepted head: index, opening, digest."""

    node: Node
    link: SignerLink
    log: FakeLog
    clock: VirtualClock
    signer: LocalSigner
    counters: shim.Shim
    leaf: tuple[int, bytes, bytes]


F = TypeVar("F", bound=Front)


@asynccontextmanager
async def accepted(kind: type[F], template: Node, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[F]:
    """A guard on a copy of `template`, with an accepted head that holds one direct leaf; no token operation so far."""
    node = template.copy(directory / "n")
    clock = VirtualClock(NOW)
    with shim.Shim(directory / "counters", SOFTHSM) as counters:
        for name, value in {**counters.env, "SOFTHSM2_CONF": node.env["SOFTHSM2_CONF"]}.items():
            monkeypatch.setenv(name, value)
        async with LocalSigner(node, clock) as signer:
            link = SignerLink(node.socket, 5_000)
            await link.connect()
            log = FakeLog()
            log.event(NOW, 4)
            leaf = (*log.direct(node.public("direct-p256"), line_of("direct-p256"), DIGEST, NOW), DIGEST)
            size, root, path = log.growth()
            await link.advance(ORIGIN, size, root, path, NOW)
            assert counters["C_Sign"] == 0
            yield kind(node, link, log, clock, signer, counters, leaf)
            await link.close()
