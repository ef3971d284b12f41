"""Does an answer that holds also say what was asked?"""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.fabricate import TIME, World
from sealpress.client.answers import LineInfo, check_answer, check_batch, line_info
from sealpress.core.leaf import LeafSpec, leaf_hashes
from sealpress.errors import Invalid
from sealpress.v1 import signing_pb2 as pb
from sealpress.v1 import types_pb2
from sealpress.values import DigestAlgorithm

DIGEST = hashlib.sha256(b"artifact").digest()
VERSION = 0x0102_0304


def listing(world: World) -> types_pb2.Key:
    """What the daemon says of the line."""
    line, log = world.line, world.log
    key = types_pb2.Key(line=line.line, mode="proof", format="tlog-proof", state="active", algorithms=[1])
    key.key_id, key.spki, key.vkey = hashlib.sha256(line.spki).digest(), line.spki, line.vkey
    key.log_name, key.log_vkey = log.name, log.vkey
    return key


def one(world: World, info: LineInfo, version: int, **lie: int) -> Any:
    """A check of an answer to Sign, whose leaf carries VERSION."""
    proof = world.prove(DIGEST, version=VERSION)
    answer = pb.SignResponse(leaf_index=proof.index + lie.get("leaves_off", 0), proof=proof.write())
    return check_answer(info, DigestAlgorithm.SHA256, DIGEST, answer, version)


def batch(world: World, info: LineInfo, version: int, **lie: Any) -> Any:
    """The same to SignBatch: the only leaf of its log."""
    assert info.policy is not None
    seed, record = bytes(32), bytes(32)
    spec = LeafSpec(1, 1, info.policy.key_id, info.policy.scope, VERSION, TIME, record)
    world.log.leaves = [leaf_hashes(spec, seed, DIGEST, 1)]
    text = world.log.text()
    by_log = base64.b64encode(world.log.key_id + world.log.private.sign(text)).decode()
    by_line = base64.b64encode(world.line.key_id + world.line.signature(text, TIME)).decode()
    lines = f"\n\u2014 {world.log.origin} {by_log}\n\u2014 {world.line.name} {by_line}\n"
    opening = b"\x01" + VERSION.to_bytes(4, "big") + TIME.to_bytes(8, "big") + record
    honest = {"count": 1, "tree_size": 1, "opening": opening, "salt_seed": seed, "checkpoint": text + lines.encode()}
    answer = pb.SignBatchResponse(**(honest | lie))
    return check_batch(info, DigestAlgorithm.SHA256, DIGEST, answer, version)


@pytest.mark.parametrize("ask", [one, batch])
def test_the_anti_rollback_counter_is_the_one_that_was_asked_for(ask: Any) -> None:
    """A proof under another counter is refused, whatever else holds: a higher one passes floors that it should not."""
    world = World.make()
    checked = partial(ask, world, line_info(listing(world)))

    assert checked(VERSION)
    for other in (0, VERSION - 1, VERSION + 1):
        with pytest.raises(Invalid, match="security version") as caught:
            checked(other)
        assert caught.value.reason == "ANSWER"


def test_who_asks_for_no_counter_gets_none() -> None:
    """As in a stream: 0 is asked for, and an answer under 1 is one to something else."""
    world = World.make()
    info = line_info(listing(world))

    def answer(version: int) -> pb.SignResponse:
        proof = world.prove(DIGEST, version=version)
        return pb.SignResponse(leaf_index=proof.index, proof=proof.write())

    assert check_answer(info, DigestAlgorithm.SHA256, DIGEST, answer(0)).proof
    with pytest.raises(Invalid, match="security version"):
        check_answer(info, DigestAlgorithm.SHA256, DIGEST, answer(1))


@pytest.mark.parametrize("change", [{"mode": "later"}, {"format": "later"}, {"algorithms": [99]}])
def test_a_listing_of_a_later_release_is_no_crash(change: dict[str, Any]) -> None:
    """A mode, format or algorithm that we do not know: said by name of the line, and that it may be us."""
    key = listing(World.make())
    key.MergeFrom(types_pb2.Key(**change))

    with pytest.raises(Invalid, match=key.line) as caught:
        line_info(key)
    assert (caught.value.reason, "later release" in caught.value.hint) == ("ANSWER", True)


@pytest.mark.parametrize(
    ("ask", "lie", "said"),
    [
        (one, {"leaves_off": 1}, "another leaf"),
        (batch, {"count": 2}, "1 digests were sent, 2 were answered"),
        (batch, {"proofs": [b"another"]}, "expanded proofs"),
    ],
    ids=["leaf", "count", "proofs"],
)
def test_what_stands_beside_a_proof_is_held_against_it(ask: Any, lie: dict[str, Any], said: str) -> None:
    """A leaf's number, the count of answers, proofs written out: none is believed because the proof holds."""
    world = World.make()

    assert ask(world, line_info(listing(world)), VERSION)
    with pytest.raises(Invalid, match=said) as caught:
        ask(world, line_info(listing(world)), VERSION, **lie)
    assert caught.value.reason == "ANSWER"


def test_proofs_that_the_server_wrote_out_are_those_of_its_compact_answer() -> None:
    """With `expand` the same proofs come twice; they are handed on once, and as we would have written them."""
    world = World.make()
    info = line_info(listing(world))
    documents = batch(world, info, VERSION).documents

    assert batch(world, info, VERSION, proofs=documents).documents == documents


@pytest.mark.parametrize("change", [{"key_id": bytes(32)}, {"line": "acme/router/eu/prod/other"}], ids=["key", "line"])
def test_a_listing_whose_parts_are_of_two_lines_is_refused(change: dict[str, Any]) -> None:
    """Its vkey is what proofs are checked with: it must be of the key and of the line that the listing names."""
    key = listing(World.make())
    key.MergeFrom(types_pb2.Key(**change))

    with pytest.raises(Invalid, match="contradicts itself") as caught:
        line_info(key)
    assert caught.value.reason == "ANSWER"


@pytest.mark.parametrize("signatures", [[], [b"signature"] * 2])
def test_a_batch_of_a_direct_line_has_a_signature_for_each_digest(signatures: list[bytes]) -> None:
    """One that lacks some is no batch that was signed."""
    key = listing(World.make())
    key.mode, key.format = "direct", "ecdsa-der"
    answer = pb.SignBatchResponse(count=1, signatures=signatures)

    with pytest.raises(Invalid, match="lacks signatures"):
        check_batch(line_info(key), DigestAlgorithm.SHA256, DIGEST, answer)


def direct_line(private: ec.EllipticCurvePrivateKey) -> LineInfo:
    """A direct line as the daemon lists it."""
    key = listing(World.make())
    key.mode, key.format = "direct", "ecdsa-der"
    key.spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return line_info(key)


def test_each_signature_of_a_direct_line_is_of_its_own_digest() -> None:
    """Neither of a neighbour in the batch, nor by another key, nor of nothing: what is handed on was checked, each."""
    private, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    info, how = direct_line(private), ec.ECDSA(Prehashed(SHA256()))
    digests = [hashlib.sha256(b"item %d" % number).digest() for number in range(4)]
    signatures = [private.sign(digest, how) for digest in digests]

    def judged(*answered: bytes) -> list[bytes]:
        answer = pb.SignBatchResponse(count=len(digests), signatures=answered)
        return check_batch(info, DigestAlgorithm.SHA256, b"".join(digests), answer).documents

    def judged_alone(signature: bytes) -> bytes:
        answer = pb.SignResponse(signature=signature)
        return check_answer(info, DigestAlgorithm.SHA256, digests[0], answer).document

    assert judged(*signatures) == signatures
    assert judged_alone(signatures[0]) == signatures[0]
    for at in range(4):
        for other in (signatures[at - 1], stranger.sign(digests[at], how), b""):
            with pytest.raises(Invalid):
                judged(*signatures[:at], other, *signatures[at + 1 :])
    for other in (signatures[1], stranger.sign(digests[0], how), b""):
        with pytest.raises(Invalid):
            judged_alone(other)
