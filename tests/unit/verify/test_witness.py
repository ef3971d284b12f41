"""Does a witness count by its own signature only, and is a node's policy read as C2SP writes it?"""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealpress.errors import Invalid
from sealpress.verify import note
from sealpress.verify.policy import WITNESSES_MAX, parse_witnesses
from sealpress.verify.witness import LINES_MAX, Cosignature, cosignature_line, cosigners, read_cosignatures

NOW = 1_800_000_000
TEXT = note.checkpoint_text("dev.example/main/1", 7, bytes(32))
PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 20)]


def key(number: int, name: str | None = None) -> note.LineKey:
    """Of a witness."""
    spki = PRIVATE[number].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return note.line_key(f"w{number}.example" if name is None else name, spki)


def cosigned(number: int, text: bytes = TEXT, time: int = NOW) -> Cosignature:
    """By a witness."""
    return Cosignature(key(number).key_id, time, PRIVATE[number].sign(note.cosignature_message(text, time)))


def line(number: int, text: bytes = TEXT) -> bytes:
    """The same as a signature line."""
    return cosignature_line(key(number), cosigned(number, text))


def test_an_answer_is_read_back() -> None:
    """Among lines of strangers, of our name with another key, and such that are no lines at all."""
    others = b"nonsense\n" + line(1) + "\u2014 w0.example AAAAAAAA\n".encode() + "\u2014 \n".encode()

    assert read_cosignatures(TEXT, others + line(0), key(0)) == [cosigned(0)]
    assert read_cosignatures(TEXT, others, key(0)) == []
    assert read_cosignatures(TEXT, line(0)[:-1], key(0)) == []  # no newline: not a line
    assert read_cosignatures(TEXT, line(1) * LINES_MAX + line(0), key(0)) == []  # no further than that


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: line(0)[:60] + data))
def test_no_answer_breaks_the_reader(answer: bytes) -> None:
    """Whatever a witness sends, what is read of it is a cosignature of its key or nothing."""
    assert all(one.key_id == key(0).key_id for one in read_cosignatures(TEXT, answer, key(0)))


def test_strangers_count_for_nothing_and_nobody_twice() -> None:
    """Two lines of one witness are one cosigner; a key that is not in the policy is none."""
    known = {f"w{number}": key(number) for number in range(2)}

    assert cosigners(TEXT, [cosigned(0), cosigned(0), cosigned(2)], known, NOW, 60) == {"w0"}


@pytest.mark.parametrize(
    "wrong",
    [
        cosigned(0, TEXT + b"x"),
        Cosignature(key(0).key_id, NOW, bytes(64)),
        Cosignature(key(0).key_id, NOW + 1, cosigned(0).signature),
        cosigned(0, time=NOW + 61),
        cosigned(0, time=0),
        Cosignature(key(0).key_id, NOW, cosigned(1).signature),
    ],
    ids=["text", "signature", "time", "future", "no time", "another's"],
)
def test_a_wrong_cosignature_of_a_known_key_is_refused(wrong: Cosignature) -> None:
    """It is not merely not counted: somebody tampers."""
    with pytest.raises(Invalid) as caught:
        cosigners(TEXT, [wrong], {"w0": key(0)}, NOW, 60)

    assert caught.value.reason == "COSIGNATURE"


def test_a_node_s_policy() -> None:
    """Logs, witnesses with their submission prefixes, groups of groups, and who makes the quorum."""
    log = note.log_key("dev.example/main/1", bytes(31) + b"1")
    named = "".join(f"witness w{one} {key(one).vkey} https://w{one}.example/x/\n" for one in range(3))
    text = f"# ours\nlog {log.vkey}\n{named}group two 2 w0 w1 w2\ngroup all all two w0\nquorum all\n"
    policy = parse_witnesses(text.encode())

    assert policy.urls == {f"w{one}": f"https://w{one}.example/x/" for one in range(3)}
    assert (policy.covers("dev.example/main/1"), policy.covers("dev.example/main/2")) == (True, False)
    assert policy.satisfied({"w0", "w2"})
    assert not policy.satisfied({"w1", "w2"})
    assert not policy.satisfied({"w0"})
    everything = parse_witnesses(f"{named}quorum none\n".encode())
    assert everything.covers("any/log/1")
    assert everything.satisfied(())


@pytest.mark.parametrize(("threshold", "least"), [("any", 1), ("1", 1), ("2", 2), ("all", 3), ("3", 3)])
def test_a_group_is_met_by_as_many_as_it_says(threshold: str, least: int) -> None:
    """By whichever of its members, and by no one else, how many of these there may be."""
    named = "".join(f"witness w{one} {key(one).vkey}\n" for one in range(5))
    policy = parse_witnesses(f"{named}group g {threshold} w0 w1 w2\nquorum g\n".encode())

    for size in range(4):
        for signed in itertools.combinations(("w0", "w1", "w2"), size):
            assert policy.satisfied({*signed, "w3", "w4", "g", "none"}) == (size >= least)


P256 = note.line_key(
    "w.example",
    ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
)

ALIKE = key(0, "w48202.example"), key(1, "w8434.example")  # two keys, the same four bytes of key id
assert ALIKE[0].key_id == ALIKE[1].key_id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quorum none\n", "needs `witness"),
        (f"witness w {key(0).vkey}\n", "needs `witness"),
        (f"witness w {key(0).vkey}\nquorum x\n", "not defined above"),
        (f"witness w {key(0).vkey}\nwitness v {key(0, 'v').vkey}\nquorum w\n", "the same key"),
        (f"witness w {ALIKE[0].vkey}\nwitness v {ALIKE[1].vkey}\nquorum w\n", "one key id"),
        (f"witness w {P256.vkey}\nquorum w\n", "Ed25519"),
        ("".join(f"witness w{i} {key(i).vkey}\n" for i in range(WITNESSES_MAX + 1)) + "quorum w0\n", "more than 14"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    """With the reason POLICY, and what is wrong."""
    with pytest.raises(Invalid) as caught:
        parse_witnesses(text.encode())

    assert (caught.value.reason, said in caught.value.message) == ("POLICY", True), caught.value.message
