"""A front end that was taken over and holds everything that serve holds: no signature of a firmware line for it.

It writes the log as it likes, knows every approval that was ever given, and speaks the socket's language. What it does
not have are the approvers' keys.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit import shim
from kit.clock import VirtualClock
from kit.firmware import KEY, LINE, OpenedLog, make_firmware_node
from kit.forgeries import MODES, SHAPES, evidence, resume
from kit.signer import ORIGIN, SOFTHSM, LocalSigner, Node
from kit.taken_front import DIGEST, EVIL, NOW, OFFICE, Front
from sealpress.core.proof import parse_note
from sealpress.errors import Refusal
from sealpress.hsm.link import SignerLink
from sealpress.values import LeafKind


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Node]:
    """A provisioned node of each mode, to copy."""
    place = tmp_path_factory.mktemp("firmware")
    return {mode: make_firmware_node(place / mode, OFFICE, mode, str(shim.built())) for mode in ("proof", "direct")}


@pytest.fixture
async def front(
    request: pytest.FixtureRequest, templates: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Front]:
    """A guard of a firmware line with an accepted head and no token operation so far."""
    mode = getattr(request, "param", "direct")
    node = templates[mode].copy(tmp_path / "n")
    clock = VirtualClock(NOW)
    with shim.Shim(tmp_path / "counters", SOFTHSM) as counters:
        for name, value in {**counters.env, "SOFTHSM2_CONF": node.env["SOFTHSM2_CONF"]}.items():
            monkeypatch.setenv(name, value)
        async with LocalSigner(node, clock) as signer:
            link = SignerLink(node.socket, 10_000)
            await link.connect()
            kind = LeafKind.PROOF if mode == "proof" else LeafKind.DIRECT
            front = Front(node, link, OpenedLog(ORIGIN), clock, signer, counters, kind)
            front.log.event(NOW - 5, 4)
            await front.advance()
            assert counters["C_Sign"] == 0
            yield front
            await link.close()


@pytest.mark.parametrize(("front", "shape"), list(zip(MODES, SHAPES, strict=True)), indirect=["front"])
async def test_a_compromised_front_end_gets_nothing(front: Front, shape: str) -> None:
    """Refused with its reason and counted, and so is asking for the signature all the same; C_Sign is never called."""
    reason, attempt = SHAPES[shape]
    reason = reason or ("HEAD_NOT_ACCEPTED" if front.kind is LeafKind.DIRECT else "HEAD_NOT_CURRENT")
    if shape == "a leaf under an older head":
        reason = "NOT_IN_LOG"
    told, root = front.log.told, front.log.tree.root()
    before = front.signer.guard.refused[reason]
    with pytest.raises(Refusal) as caught:
        await attempt(front)
    assert caught.value.reason == reason
    assert front.signer.guard.refused[reason] == before + 1

    with pytest.raises(Refusal):
        await front.signature()
    mark = (await front.link.status()).logs[ORIGIN]
    assert (mark.size, mark.root) == (told, root)
    assert (front.counters["C_Sign"], front.counters["C_SignInit"]) == (0, 0)


def test_there_are_enough_shapes() -> None:
    """At least forty, and both kinds of lines."""
    assert len(SHAPES) >= 40
    assert set(MODES) == {"proof", "direct"}


@pytest.mark.parametrize("front", ["proof", "direct"], indirect=True)
async def test_what_the_quorum_approved_is_signed(front: Front) -> None:
    """The honest way: two persons of two groups approved the digest; events and leaves beside it are opened, too."""
    front.leaf()
    front.log.event(NOW)
    await front.advance(evidence())

    signature = await front.signature(-2)
    assert signature
    assert front.counters["C_Sign"] == 1
    if front.kind is LeafKind.PROOF:
        sealed = await front.link.seal(ORIGIN, front.log.told, [KEY])
        text = f"{ORIGIN}\n{front.log.told}\n".encode()
        note = parse_note(text + _root_line(front) + b"\n" + sealed.log_signature_line + sealed.lines[KEY].line)
        assert [line.name for line in note.lines] == [ORIGIN, f"{front.log.name}/{LINE}"]


def _root_line(front: Front) -> bytes:
    return base64.b64encode(front.log.tree.root()) + b"\n"


async def test_an_unapproved_leaf_is_the_end_of_its_log(front: Front) -> None:
    """By design: every later head holds it, and not even an approved leaf behind it is signed."""
    front.leaf(EVIL)
    front.leaf(DIGEST)
    with pytest.raises(Refusal) as caught:
        await front.advance(evidence())
    assert caught.value.reason == "RELEASE_DIGEST"
    assert front.counters["C_Sign"] == 0


async def test_a_leaf_dated_back_into_its_approvals_is_accepted_and_dead(front: Front) -> None:
    """An outage: the approvals have expired, the leaf has its time from when they counted; nothing more is signed."""
    short = evidence(expires=NOW + 60)
    front.leaf(time=NOW)
    front.clock.advance(4_000)
    await front.advance(short)

    with pytest.raises(Refusal) as caught:
        await front.signature()
    assert caught.value.reason == "LEAF_TOO_OLD"
    assert front.counters["C_Sign"] == 0
    assert (await front.link.status()).logs[ORIGIN].size == front.log.told


async def test_the_quorum_ends_a_stop_once(front: Front) -> None:
    """After the stop, by two persons, not before 300 seconds; the same papers do not end the next stop."""
    front.leaf()
    await front.advance(evidence())
    await front.link.stop(KEY)
    assert not (await front.link.status()).keys[KEY].ready
    front.clock.advance(301)
    papers = resume()
    await front.link.lift(KEY, papers)
    assert (await front.link.status()).keys[KEY].ready
    await front.link.stop(KEY)
    front.clock.advance(301)
    with pytest.raises(Refusal) as caught:
        await front.link.lift(KEY, papers)
    assert caught.value.reason == "LIFT_STALE"
    assert front.counters["C_Sign"] == 0
