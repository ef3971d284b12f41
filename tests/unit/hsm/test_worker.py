"""What a worker's process answers while its token does not: asked by the guard's end of it, behind the shim."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kit.shim import Kind, Shim, built
from kit.signer import SOFTHSM, make_node
from sealpress.hsm import work as w
from sealpress.hsm.child import Child
from sealpress.hsm.signatures import Ecdsa
from sealpress.values import DigestAlgorithm
from sealpress.verify.note import canonical_spki

SESSIONS = 40
BATCHES = 60
DEADLINE_S = 1.5


async def test_what_finds_no_session_is_answered_as_not_tried_before_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of many sessions hang: what they do not have in hand is answered in time, and may be tried again."""
    node = make_node(tmp_path / "n", keys={"p256": ("p256", "main", "direct", "ecdsa-der")})
    pem = (node.directory / "keys" / "p256.pem").read_bytes()
    job = Ecdsa(load_pem_public_key(pem)).job("p256", DigestAlgorithm.SHA256, hashlib.sha256(b"x").digest())  # type: ignore[arg-type]
    with Shim(tmp_path / "page", SOFTHSM) as shim:
        for name, value in {"SOFTHSM2_CONF": node.env["SOFTHSM2_CONF"], **shim.env}.items():
            monkeypatch.setenv(name, value)
        key = w.WorkerKey("p256", b"\xa0", "p256", canonical_spki(pem))
        pin = str(node.directory / "pin")
        ask = w.WorkerOpen("s1", str(built()), "", "", "kit", pin, SESSIONS, bytes(32), (), (key,))
        child = Child(ask, DEADLINE_S, lambda: None, lambda stock: None)
        life = asyncio.create_task(child.run())
        assert await child.opened
        slow = shim.delay("C_Sign", 20)
        while child.limit < SESSIONS:  # until all of them work at a time
            await asyncio.gather(*(signed(child, job) for _ in range(BATCHES)))
            child.ping(lambda _: None)
        slow.remove()
        shim.inject("C_Sign", Kind.HANG)
        answers = await asyncio.gather(*(signed(child, job) for _ in range(BATCHES)))
        child.kill()
        await life
    heard = [answer for answer in answers if answer is not None]
    assert len(heard) >= BATCHES - SESSIONS
    assert not any(result.tried for answer in heard for result in answer.results)


async def signed(child: Child, job: w.WorkerJob) -> w.WorkerSigned | None:
    """What is told of a few operations; None: nobody knows what was done."""
    told: asyncio.Future[w.WorkerSigned | None] = asyncio.get_running_loop().create_future()
    child.sign((job,) * 2, told.set_result)  # type: ignore[arg-type]
    return await told
