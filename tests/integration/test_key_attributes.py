"""Keys as they are on a token: those that are not as their class demands, those that nobody knows, their counts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import shim
from kit.signer import ORIGIN, SOFTHSM, FakeLog, Node, Signer, make_node, raw_status
from sealpress.hsm.link import SignerLink
from sealpress.hsm.outcomes import Sealed

KEYS = dict.fromkeys(("good", "loose"), ("p256", "main", "proof", "tlog-proof"))
COUNTER = 0x8000_0042
# Another process on the same token: a key that leaves the token if asked, and a signature that the signer never saw.
LOOSE = """
import sys
from pkcs11 import Attribute
from sealpress.hsm import module, objects, pairs
token = module.Token(module.TokenName("/usr/lib/softhsm/libsofthsm2.so", "", "", "kit"))
token.login(sys.argv[1], bytes(32), ())
session = token.open_session(write=True)
objects.destroy(*session.get_objects({Attribute.LABEL: "loose"}))
pair = objects.make(session, "p256", b"\\xa1", "loose", {**pairs.PRIVATE_TEMPLATE, Attribute.EXTRACTABLE: True})
from sealpress.hsm.custodian import pem
print(pem(pair.spki))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A token behind the shim, whose second key is extractable; both lines of class low, in a laboratory."""
    directory = tmp_path_factory.mktemp("attributes")
    node = make_node(directory / "n", keys=KEYS, module=str(shim.built()))
    made = subprocess.run(
        [sys.executable, "-c", LOOSE, str(node.directory / "pin")],
        env=node.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (node.directory / "keys" / "loose.pem").write_text(made.stdout)
    node.config.write_text(node.config.read_text().replace('class = "test"', 'class = "low"'))
    node.edit("sessions = 2", f"sessions = 2\nlaboratory = true\noperations_attribute = {COUNTER}")
    return node


@pytest.fixture
def node(template: Node, tmp_path: Path) -> Node:
    """A copy of it."""
    return template.copy(tmp_path / "n")


@pytest.fixture
def token(tmp_path: Path) -> Iterator[shim.Shim]:
    """What the shim saw, and does."""
    with shim.Shim(tmp_path / "page", SOFTHSM) as page:
        yield page


async def run(signer: Signer, work: Callable[[SignerLink], Awaitable[None]]) -> list[dict[str, Any]]:
    """Do the work on a signer that is ready, stop it, and return what it told on standard error."""
    signer.wait_ready()
    link = SignerLink(signer.node.socket, 10_000)
    await link.connect()
    try:
        await work(link)
    finally:
        await link.close()
        signer.process.terminate()
        _, told = await asyncio.to_thread(signer.process.communicate, timeout=20)
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


async def seal(link: SignerLink, log: FakeLog, keys: list[str]) -> Sealed:
    """One leaf more, and a head signed by these keys."""
    log.event(int(time.time()))
    size, root, path = log.growth()
    await link.advance(ORIGIN, size, root, path, int(time.time()))
    return await link.seal(ORIGIN, size, keys)


def named(events: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """Those of one name."""
    return [one for one in events if one["event"] == event]


async def test_a_key_that_can_leave_its_token_is_not_used(node: Node, token: shim.Shim) -> None:
    """GR-03: its line waits with a reason and a hint, no C_Sign happens; the other key of the slot signs."""

    async def work(link: SignerLink) -> None:
        status = await link.status()
        assert (status.keys["good"].ready, status.keys["good"].reason) == (True, "")
        assert (status.keys["loose"].ready, status.keys["loose"].reason) == (False, "KEY_ATTRIBUTES")
        assert (link.why("good"), link.why("loose")) == ("", "KEY_ATTRIBUTES")
        sealed = await seal(link, FakeLog(), ["good", "loose"])
        assert sealed.lines["good"].line
        assert (sealed.lines["loose"].line, sealed.lines["loose"].reason) == (b"", "KEY_ATTRIBUTES")
        assert token["C_Sign"] == 1

    (told,) = named(await run(Signer(node, token.env), work), "key_not_used")
    assert (told["key"], told["reason"], bool(told["hint"])) == ("loose", "KEY_ATTRIBUTES", True)
    assert "extractable is true" in told["message"]
    assert "never_extractable is false" in told["message"]


async def test_a_token_of_files_holds_no_key_above_test(node: Node, token: shim.Shim) -> None:
    """GR-04: SoftHSM outside a laboratory signs nothing for class low."""
    node.edit("laboratory = true\n", "")

    async def work(link: SignerLink) -> None:
        assert {key.reason for key in (await link.status()).keys.values()} == {"KEY_ATTRIBUTES"}

    told = named(await run(Signer(node, token.env), work), "key_not_used")
    assert {one["key"] for one in told} == {"good", "loose"}
    assert all("GR-04" in one["message"] for one in told)


async def test_a_key_that_nobody_configured_is_told_once(node: Node, token: shim.Shim) -> None:
    """GR-01: with label and id, at status and in the log; a worker that comes again says nothing new."""
    forget_loose(node)
    signer = Signer(node, token.env)

    async def work(link: SignerLink) -> None:
        assert (await raw_status(node)).slots["s1"].strangers == 1
        (worker,) = signer.workers()
        os.kill(worker, signal.SIGKILL)
        log = FakeLog()
        while not (await seal(link, log, ["good"])).lines["good"].line:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    (told,) = named(await run(signer, work), "key.unmanaged")
    assert (told["level"], told["count"], told["keys"][0][:10]) == ("critical", 1, "loose (a1,")


async def test_a_token_s_count_is_compared_with_ours(node: Node, token: shim.Shim) -> None:
    """GR-07: they agree over a restart, and the number is in each outcome; a signature by somebody else is found."""
    forget_loose(node)  # the shim counts for all keys together
    token.inject("C_GetAttributeValue", shim.counter(COUNTER))
    log = FakeLog()
    numbers = []

    async def work(link: SignerLink) -> None:
        for _ in range(3):
            numbers.append((await seal(link, log, ["good"])).lines["good"].slot)
        assert (await raw_status(node)).keys["good"].operations == len(numbers)

    for _ in range(2):
        assert not named(await run(Signer(node, token.env), work), "operations_differ")
    assert numbers == [f"s1#{number}" for number in range(1, 7)]
    check = [sys.executable, "-m", "sealpress", "hsm", "check", "--config", str(node.config)]
    subprocess.run(check, env={**node.env, **token.env}, capture_output=True, check=False)  # noqa: ASYNC221
    told = named(await run(Signer(node, token.env), work), "operations_differ")
    assert {(one["level"], one["key"]) for one in told} == {("critical", "good")}


def forget_loose(node: Node) -> None:
    """Take the second key out of the configuration; it stays on the token."""
    text = node.config.read_text()
    node.config.write_text(text[: text.index("[key.loose]")])
