"""Can a front end that lies have a held key sign what its witnesses have not cosigned?"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit import shim
from kit.clock import VirtualClock
from kit.firmware import KEY, Office, OpenedLog, make_firmware_node
from kit.front import DIGEST, NOW, Front, accepted
from kit.signer import KEYS, ORIGIN, OTHER_ORIGIN, SOFTHSM, LocalSigner, Node, line_of, make_node
from sealpress.core.proof import parse_note
from sealpress.errors import ConfigError, Refusal
from sealpress.hsm.leaves import DirectItem
from sealpress.hsm.link import SignerLink
from sealpress.values import LeafKind
from sealpress.verify import note
from sealpress.verify.witness import Cosignature

HELD = ("proof-p256", "direct-p256")
KEYS_USED = {name: KEYS[name] for name in ("proof-ed25519", *HELD)}
WITNESSES = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 5)]  # 4: a stranger


def witness_key(number: int) -> note.LineKey:
    """Of witness 0, 1, 2, or the stranger 3."""
    spki = WITNESSES[number].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return note.line_key(f"w{number}.example/witness", spki)


def policy_text(quorum: str = "2 w0 w1 w2") -> str:
    """Of the signer's own file."""
    named = "".join(f"witness w{number} {witness_key(number).vkey}\n" for number in range(3))
    return f"{named}group enough {quorum}\nquorum enough\n"


class Held(Front):
    """A front end whose log has an accepted head with a direct leaf in it."""

    @property
    def size(self) -> int:
        """Of the accepted head."""
        return self.log.told

    async def grow(self, leaves: int = 5) -> None:
        """The log goes on."""
        now = self.clock.now_ns() // 1_000_000_000
        self.log.event(now, leaves)
        size, root, path = self.log.growth()
        await self.link.advance(ORIGIN, size, root, path, now)

    async def propose(self) -> int:
        """The log key signs the accepted head, and witnesses are asked; its size."""
        await self.link.seal(ORIGIN, self.size, [], hold=True)
        return self.size

    def text(self, size: int, origin: str = ORIGIN) -> bytes:
        """Of a checkpoint of the log."""
        return note.checkpoint_text(origin, size, self.log.tree.root(size))

    async def show(self, size: int, *numbers: int, text: bytes | None = None, time: int = NOW) -> None:
        """Cosignatures of these witnesses, for the head of this size."""
        message = note.cosignature_message(self.text(size) if text is None else text, time)
        shown = [Cosignature(witness_key(one).key_id, time, WITNESSES[one].sign(message)) for one in numbers]
        await self.link.cosigned(ORIGIN, size, shown)

    async def seal(self, size: int, *keys: str) -> bytes:
        """What the held key answers."""
        sealed = await self.link.seal(ORIGIN, size, list(keys) or ["proof-p256"])
        return sealed.lines["proof-p256"].line

    async def direct(self, size: int) -> None:
        """Ask for the leaf's direct signature, shown in the head of this size."""
        item = DirectItem(self.leaf[1], DIGEST, self.leaf[0], self.log.tree.inclusion(self.leaf[0], size))
        (result,) = await self.link.direct("direct-p256", [item], size)
        assert result.signature


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned node that tests copy."""
    directory = tmp_path_factory.mktemp("held")
    node = make_node(directory / "n", keys=KEYS_USED, module=str(shim.built()))
    (node.directory / "witness.policy").write_text(policy_text())
    node.edit("[signer]", '[witness]\npolicy = "witness.policy"\n[signer]')
    for key in HELD:
        node.edit(f'cka_label = "{key}"', f'cka_label = "{key}"\nhold = "witnessed"')
    return node


@pytest.fixture
async def front(template: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Held]:
    """A guard with an accepted head; no token operation so far."""
    async with accepted(Held, template, tmp_path, monkeypatch) as made:
        yield made


async def _unproposed(front: Front) -> None:
    await front.show(front.size, 0, 1)


async def _wrong(front: Held, *numbers: int, text: bytes | None = None, time: int = NOW) -> None:
    size = await front.propose()
    with pytest.raises(Refusal) as caught:
        await front.show(size, *numbers, text=text, time=time)
    assert caught.value.reason == "NOT_WITNESSED"
    await front.seal(size)


async def _other_root(front: Front) -> None:
    await _wrong(front, 0, 1, text=note.checkpoint_text(ORIGIN, front.size, bytes(32)))


async def _late(front: Front) -> None:
    size = await front.propose()
    front.clock.advance(241)
    await front.show(size, 0, 1)


async def _late_seal(front: Front) -> None:
    size = await front.propose()
    await front.show(size, 0, 1)
    front.clock.advance(241)
    await front.seal(size)


async def _other_head(front: Front) -> None:
    size = await front.propose()
    await front.show(size, 0, 1)
    await front.grow()
    await front.seal(front.size)


async def _forgotten(front: Front) -> None:
    size = await front.propose()
    for _ in range(16):
        await front.grow()
        await front.propose()
    await front.show(size, 0, 1)


async def _mixed(front: Front) -> None:
    size = await front.propose()
    await front.show(size, 0, 1)
    await front.seal(size, "proof-p256", "proof-ed25519")


async def _direct(front: Front) -> None:
    item = front.log.item(front.leaf[0], front.leaf[1], DIGEST)
    await front.link.direct("direct-p256", [item], await front.propose())


LIES: dict[str, tuple[str, Callable[[Held], Awaitable[object]]]] = {
    "no witness was asked": ("NOT_WITNESSED", lambda front: front.seal(front.size)),
    "no witness answered": ("NOT_WITNESSED", _wrong),
    "a head that was not proposed": ("NOT_WITNESSED", _unproposed),
    "one of two": ("NOT_WITNESSED", lambda front: _wrong(front, 0)),
    "one of two, twice": ("NOT_WITNESSED", lambda front: _wrong(front, 0, 0)),
    "one and a stranger": ("NOT_WITNESSED", lambda front: _wrong(front, 0, 3)),
    "over another root": ("NOT_WITNESSED", _other_root),
    "over another size": ("NOT_WITNESSED", lambda front: _wrong(front, 0, 1, text=front.text(front.size - 1))),
    "over another log": ("NOT_WITNESSED", lambda front: _wrong(front, 0, 1, text=front.text(front.size, OTHER_ORIGIN))),
    "from the future": ("NOT_WITNESSED", lambda front: _wrong(front, 0, 1, time=NOW + 61)),
    "from no time": ("NOT_WITNESSED", lambda front: _wrong(front, 0, 1, time=0)),
    "shown too late": ("NOT_WITNESSED", _late),
    "sealed too late": ("NOT_WITNESSED", _late_seal),
    "the next head": ("NOT_WITNESSED", _other_head),
    "a head of long ago": ("NOT_WITNESSED", _forgotten),
    "beside a key that waits for nobody": ("BAD_REQUEST", _mixed),
    "proposed and sealed at once": ("BAD_REQUEST", lambda f: f.link.seal(ORIGIN, f.size, ["proof-p256"], hold=True)),
    "a direct leaf": ("NOT_WITNESSED", _direct),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_held_key_signs_nothing_unwitnessed(front: Held, lie: str) -> None:
    """Refused with its reason; the module sees no C_Sign, and the log's own key goes on."""
    reason, attempt = LIES[lie]
    with pytest.raises(Refusal) as caught:
        await attempt(front)

    assert (caught.value.reason, front.counters["C_Sign"], front.counters["C_SignInit"]) == (reason, 0, 0)
    await front.link.seal(ORIGIN, front.size, [])


async def test_the_head_that_was_cosigned_is_signed(front: Front) -> None:
    """The log grew meanwhile: the held key signs that very head, T is the clock's, and its size is marked."""
    size = await front.propose()
    await front.grow()
    front.clock.advance(200)
    await front.show(size, 2, 0)
    line = await front.seal(size)
    await front.direct(size)

    key = note.line_key(f"{front.log.name}/{line_of('proof-p256')}", front.node.public("proof-p256"))
    (parsed,) = parse_note(front.text(size) + b"\n" + line).lines
    assert note.verify_line(key, front.text(size), parsed.signature) == NOW + 200
    status = await front.link.status()
    assert (status.keys["proof-p256"].last_size, status.logs[ORIGIN].size) == (size, front.size)
    assert status.keys["proof-p256"].held
    assert not status.keys["proof-ed25519"].held


async def test_a_key_goes_back_to_no_smaller_head(front: Front) -> None:
    """Both heads are witnessed; after the larger one the smaller is refused, for a cosigner's sizes never decrease."""
    small = await front.propose()
    await front.show(small, 0, 1)
    await front.grow()
    large = await front.propose()
    await front.show(large, 0, 1, 2)
    assert await front.seal(large)
    with pytest.raises(Refusal) as caught:
        await front.seal(small)

    assert caught.value.reason == "SIZE_NOT_GROWING"
    assert front.counters["C_Sign"] == 1


async def test_a_firmware_line_is_approved_and_witnessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaf is opened and approved, and still the key rests until two have cosigned; then it signs once."""
    office = Office(NOW)
    node = make_firmware_node(tmp_path / "n", office, "proof", str(shim.built()))
    node.edit("[key.fw]", '[key.fw]\nhold = "witnessed"')
    node.edit("[signer]", '[witness]\npolicy = "witness.policy"\n\n[signer]')
    (node.directory / "witness.policy").write_text(policy_text())
    digest, log = hashlib.sha256(b"firmware").digest(), OpenedLog(ORIGIN)
    log.sign(LeafKind.PROOF, node.public(KEY), digest, NOW)
    with shim.Shim(tmp_path / "counters", SOFTHSM) as counters:
        for name, value in {**counters.env, "SOFTHSM2_CONF": node.env["SOFTHSM2_CONF"]}.items():
            monkeypatch.setenv(name, value)
        clock = VirtualClock(NOW)
        async with LocalSigner(node, clock) as signer:
            link = SignerLink(node.socket, 5_000)
            await link.connect()
            opened = log.opened(office.evidence(office.release(digest)))
            await link.advance(ORIGIN, *log.growth(), NOW, opened)
            front = Held(node, link, log, clock, signer, counters, (0, b"", b""))
            size = await front.propose()
            with pytest.raises(Refusal) as caught:
                await link.seal(ORIGIN, size, [KEY])
            assert (caught.value.reason, counters["C_Sign"]) == ("NOT_WITNESSED", 0)
            await front.show(size, 1, 2)
            sealed = await link.seal(ORIGIN, size, [KEY])
            assert (bool(sealed.lines[KEY].line), counters["C_Sign"]) == (True, 1)
            await link.close()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('policy = "witness.policy"', 'policy = "none.policy"', "No such file"),
        ('[witness]\npolicy = "witness.policy"\n', "", "needs [witness]"),
    ],
)
async def test_a_held_key_without_witnesses_is_refused(
    template: Node, tmp_path: Path, before: str, after: str, said: str
) -> None:
    """The signer does not start: it could only refuse."""
    node = template.copy(tmp_path / "n")
    node.edit(before, after)
    with pytest.raises(ConfigError) as caught:
        LocalSigner(node, VirtualClock(NOW))

    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (policy_text().replace("quorum enough", "quorum none"), "quorum is `none`"),
        (f"log {note.log_key('elsewhere.example/x/1', bytes(32)).vkey}\n{policy_text()}", "does not name the log"),
    ],
)
async def test_a_policy_that_holds_nothing_is_refused(template: Node, tmp_path: Path, text: str, said: str) -> None:
    """A quorum of nobody, and a policy about other logs, would hold no key back."""
    node = template.copy(tmp_path / "n")
    (node.directory / "witness.policy").write_text(text)
    with pytest.raises(ConfigError) as caught:
        LocalSigner(node, VirtualClock(NOW))

    assert said in caught.value.message
