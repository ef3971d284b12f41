"""Are the answers that the core writes what protobuf would have written of the same fields?"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealpress.core import leaf, proof
from sealpress.core.answer import Answers
from sealpress.core.leaf import LeafSpec
from sealpress.core.merkle import Tree
from sealpress.errors import CoreError
from sealpress.steps._ids import ulid_text
from sealpress.v1 import signing_pb2 as pb

LEAVES = 300
NOTE = b"sign.example/a/1\n300\n" + b"A" * 43 + b"=\n\n" + "— sign.example/a/1 ".encode() + b"A" * 88 + b"AA==\n"
SEED = bytes(range(32))

tree = Tree()
tree.append(b"".join(hashlib.sha256(b"leaf %d" % i).digest() for i in range(LEAVES)))


def spec(algorithm: int = 1, security_version: int = 0, time: int = 0, record: bytes = SEED) -> LeafSpec:
    """Of a proof line's leaf."""
    return LeafSpec(1, algorithm, bytes(32), bytes(32), security_version, time, record)


@given(
    size=st.integers(1, LEAVES),
    at=st.integers(0, LEAVES - 1),
    request_id=st.text(st.characters(codec="ascii"), max_size=64),
    event_id=st.binary(min_size=16, max_size=16),
    made=st.builds(
        spec,
        st.integers(1, 3),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**64 - 1),
        st.binary(min_size=32, max_size=32),
    ),
    seed=st.binary(min_size=32, max_size=32),
)
def test_an_answer_is_what_protobuf_writes(
    size: int, at: int, request_id: str, event_id: bytes, made: LeafSpec, seed: bytes
) -> None:
    """Byte for byte, whatever the act, the leaf and the tree."""
    index = at % size
    opening = leaf.opening(made, leaf.salts(seed, 0, 1))
    expected = pb.SignResponse(
        request_id=request_id,
        event_id=ulid_text(event_id),
        leaf_index=index,
        proof=proof.write_proof(opening, index, tree.inclusion(index, size), NOTE),
        opening=opening,
    )
    answer = Answers().proof(tree, size, NOTE, request_id.encode(), event_id, index, made, seed)

    assert answer == expected.SerializeToString()
    assert pb.SignResponse.FromString(answer) == expected


def test_one_buffer_serves_answers_of_any_length() -> None:
    """A short answer after a long one has nothing of it, and both stay as they are."""
    answers, event_id = Answers(), bytes(16)
    long = answers.proof(tree, LEAVES, NOTE, b"r" * 64, event_id, 7, spec(), SEED)
    short = answers.proof(tree, 1, NOTE, b"r", event_id, 0, spec(), SEED)

    assert short == Answers().proof(tree, 1, NOTE, b"r", event_id, 0, spec(), SEED)
    assert pb.SignResponse.FromString(long).request_id == "r" * 64


@pytest.mark.parametrize(
    ("name", "index", "size", "note", "event_id", "record"),
    [
        ("SP_E_BOUNDS", 5, 5, NOTE, bytes(16), SEED),  # the leaf is not below the head
        ("SP_E_BOUNDS", 5, LEAVES + 1, NOTE, bytes(16), SEED),  # nor the head in the tree
        ("SP_E_BOUNDS", 5, 9, NOTE, bytes(15), SEED),
        ("SP_E_BOUNDS", 5, 9, NOTE, bytes(16), SEED[:-1]),
        ("SP_E_ENCODING", 5, 9, NOTE[:-1], bytes(16), SEED),
    ],
)
def test_there_is_no_answer_of_wrong_parts(
    name: str, index: int, size: int, note: bytes, event_id: bytes, record: bytes
) -> None:
    """What does not belong together is an error, never an answer."""
    with pytest.raises(CoreError) as caught:
        Answers().proof(tree, size, note, b"r", event_id, index, spec(record=record), SEED)

    assert caught.value.name == name


def test_a_good_checkpoint_vouches_for_no_other() -> None:
    """One that was looked at is not looked at again; the next one is, also if it differs by its last byte only."""
    answers = Answers()
    good = answers.proof(tree, 9, NOTE, b"r", bytes(16), 5, spec(), SEED)
    for _ in range(2):
        with pytest.raises(CoreError) as caught:
            answers.proof(tree, 9, NOTE[:-1], b"r", bytes(16), 5, spec(), SEED)
        assert caught.value.name == "SP_E_ENCODING"

    assert answers.proof(tree, 9, NOTE, b"r", bytes(16), 5, spec(), SEED) == good


def test_an_id_that_does_not_fit_is_refused() -> None:
    """The buffer is the bound: more than it holds is SP_E_ROOM."""
    with pytest.raises(CoreError) as caught:
        Answers().proof(tree, 9, NOTE, b"r" * (1 << 17), bytes(16), 5, spec(), SEED)

    assert caught.value.name == "SP_E_ROOM"
