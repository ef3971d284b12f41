"""Which policies may hold a key, and for how long a head is remembered?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealpress.config import WitnessSection
from sealpress.errors import ConfigError, NotPermitted
from sealpress.hsm import messages as m
from sealpress.hsm.holding import PROPOSED_MAX, Holds, Proposed, Quorum, load_quorum
from sealpress.hsm.keytable import GuardKey, GuardLog, KeyTable
from sealpress.values import KeyClass
from sealpress.verify import note
from sealpress.verify.policy import parse_witnesses

ORIGIN = "dev.example/main/1"
NOW = 1_800_000_000
PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 5)]


def spki(number: int) -> bytes:
    """Of a key."""
    return PRIVATE[number].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def policy(*quorum: str, witnesses: tuple[int, ...] = (0, 1)) -> str:
    """Witnesses w0, w1, … and what makes the quorum."""
    named = [f"witness w{one} {note.line_key(f'w{one}.example', spki(one)).vkey}" for one in witnesses]
    return "\n".join([*named, *quorum, ""])


def table(class_: KeyClass, *, held: bool = True) -> KeyTable:
    """One log with one key."""
    public = PRIVATE[3].public_key()
    log = GuardLog(ORIGIN, "dev.example/main", note.log_key(ORIGIN, public.public_bytes_raw()), PRIVATE[3], public)
    key = GuardKey(
        "k", ORIGIN, "a/b/c/d/e", class_, ("s1",), spki(2), bytes(32), bytes(32), b"1", "", True, None, None, None, held
    )
    return KeyTable(MappingProxyType({ORIGIN: log}), MappingProxyType({"k": key}))


def config(**section: Any) -> Any:
    """As much of it as is looked at."""
    return SimpleNamespace(witness=WitnessSection(policy="w.policy", **section))


def path_of(directory: Path) -> Callable[[str], Path]:
    """Paths of the configuration."""
    return lambda value: directory / value


@pytest.mark.parametrize(
    ("class_", "text", "said"),
    [
        (KeyClass.FIRMWARE, policy("group any any w0 w1", "quorum any"), "one witness must not make the quorum"),
        (KeyClass.FIRMWARE, policy("quorum w0"), "one witness must not make the quorum"),
        (KeyClass.RELEASE, policy("quorum none"), "quorum is `none`"),
        (KeyClass.RELEASE, policy("quorum w2", witnesses=(2,)), "w2 is a key of this signer"),
        (KeyClass.RELEASE, policy("quorum w3", witnesses=(3,)), "w3 is a key of this signer"),
    ],
)
def test_a_quorum_that_holds_nothing_back_is_refused(tmp_path: Path, class_: KeyClass, text: str, said: str) -> None:
    """Nobody, oneself, or for firmware a single witness (GR-25)."""
    (tmp_path / "w.policy").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_quorum(config(), path_of(tmp_path), table(class_))

    assert said in caught.value.message


@pytest.mark.parametrize("class_", [KeyClass.TEST, KeyClass.RELEASE, KeyClass.FIRMWARE])
def test_two_of_two_hold_any_class(tmp_path: Path, class_: KeyClass) -> None:
    """And a signer without held keys reads no policy at all."""
    (tmp_path / "w.policy").write_text(policy("group both all w0 w1", "quorum both"))

    assert load_quorum(config(), path_of(tmp_path), table(class_)) is not None
    assert load_quorum(config(), path_of(tmp_path / "none"), table(class_, held=False)) is None


def proposed(size: int, since: int = NOW) -> Proposed:
    """A head."""
    return Proposed(size, bytes([size]) * 32, NOW, NOW, since)


def cosigned(size: int) -> list[m.Cosignature]:
    """By w0."""
    message = note.cosignature_message(note.checkpoint_text(ORIGIN, size, bytes([size]) * 32), NOW)
    return [m.Cosignature(note.line_key("w0.example", spki(0)).key_id, NOW, PRIVATE[0].sign(message))]


def holds(hold_s_max: int = 30) -> Holds:
    """One witness is enough."""
    return Holds(ORIGIN, Quorum(parse_witnesses(policy("quorum w0").encode()), 60, hold_s_max))


def test_what_is_remembered_is_bounded() -> None:
    """So many heads of a log, the oldest forgotten first."""
    kept = holds()
    for size in range(1, PROPOSED_MAX + 2):
        kept.propose(proposed(size))
    kept.cosigned(2, cosigned(2), NOW)
    with pytest.raises(NotPermitted):
        kept.cosigned(1, cosigned(1), NOW)

    assert kept.witnessed(2, NOW).size == 2


def test_a_hold_ends() -> None:
    """After hold_s_max a witnessed head holds keys back again; proposed once more, it is still witnessed."""
    kept = holds(hold_s_max=30)
    kept.propose(proposed(5))
    kept.cosigned(5, cosigned(5), NOW + 30)
    assert kept.witnessed(5, NOW + 30).root == bytes([5]) * 32
    with pytest.raises(NotPermitted):
        kept.witnessed(5, NOW + 31)
    kept.propose(replace(proposed(5), since=NOW + 40))

    assert kept.witnessed(5, NOW + 70).witnessed


def test_without_held_keys_nothing_is_witnessed() -> None:
    """A signer that has no quorum takes no cosignatures."""
    kept = Holds(ORIGIN, None)
    kept.propose(proposed(5))
    with pytest.raises(NotPermitted) as caught:
        kept.cosigned(5, cosigned(5), NOW)

    assert caught.value.reason == "NOT_WITNESSED"
