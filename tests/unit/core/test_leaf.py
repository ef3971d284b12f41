"""Are leaves, salts, records and name roots exactly the bytes that a boot loader would check?"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from kit.cpu import cpu_masks, mask_name, only
from sealpress.core import leaf, reference
from sealpress.core.leaf import LeafSpec
from sealpress.errors import CoreError

VECTORS = Path(__file__).parents[2] / "vectors"
SEED = bytes(range(32))
ALGORITHMS = {1: "sha256", 2: "sha384", 3: "sha512"}

masks = pytest.mark.parametrize("mask", cpu_masks(), ids=mask_name)


def spec_of(kind: int, algorithm: int) -> LeafSpec:
    """A spec in which no field is zero."""
    scope = leaf.scope("sign.example/a", "a/b/c/d/e" if kind != 2 else "")
    return LeafSpec(kind, algorithm, b"\x11" * 32, scope, 0x01020304, 0x0102030405060708, bytes(range(100, 132)))


def digests_of(algorithm: int, count: int) -> list[bytes]:
    """Digests of the decimal numbers."""
    return [hashlib.new(ALGORITHMS[algorithm], b"%d" % i).digest() for i in range(count)]


@pytest.fixture(scope="module")
def vector() -> dict[str, Any]:
    """The published leaves."""
    data: dict[str, Any] = json.loads((VECTORS / "leaf.json").read_text())
    return data


@masks
def test_published_leaves(vector: dict[str, Any], mask: int) -> None:
    """key id, scope, openings and leaf hashes of the vector come out, in bulk and as a verifier computes them."""
    spki = bytes.fromhex("302a300506032b6570032100" + vector["public_key"])
    record = hashlib.sha256(b"record").digest()
    digests = [hashlib.sha256(b"artifact %d" % item["i"]).digest() for item in vector["items"]]
    with only(mask):
        key_id, scope = leaf.key_id(spki), leaf.scope(vector["log_name"], vector["line"])
        spec = LeafSpec(1, 1, key_id, scope, vector["security_version"], vector["time"], record)
        hashes = leaf.leaf_hashes(spec, SEED, b"".join(digests), len(digests))
        openings = [leaf.opening(spec, leaf.salts(SEED, i, 1)) for i in range(len(digests))]
        opened = [
            leaf.leaf_hash_opened(1, key_id, scope, opening, digest)
            for opening, digest in zip(openings, digests, strict=True)
        ]

    assert (key_id.hex(), scope.hex()) == (vector["key_id"], vector["scope"])
    assert [base64.b64encode(opening).decode() for opening in openings] == [
        item["opening_base64"] for item in vector["items"]
    ]
    assert [hash_.hex() for hash_ in reference.split(hashes)] == [item["leaf_hash"] for item in vector["items"]]
    assert opened == reference.split(hashes)


@masks
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=ALGORITHMS.get)
@pytest.mark.parametrize("kind", [1, 3])
def test_leaves_of_a_request(kind: int, algorithm: int, mask: int) -> None:
    """Every item of requests of 0 to 1,029 digests is the leaf that its definition says, for every algorithm."""
    spec, digests = spec_of(kind, algorithm), digests_of(algorithm, 1029)
    expected = [reference.leaf_hash(spec, reference.salt(SEED, i), digest) for i, digest in enumerate(digests)]

    with only(mask):
        for count in [*range(20), 255, 256, 257, 511, 512, 513, 1029]:
            hashes = leaf.leaf_hashes(spec, SEED, b"".join(digests[:count]), count)
            assert reference.split(hashes) == expected[:count]


@masks
def test_event_leaf(mask: int) -> None:
    """An event has no digest, a zero salt and algorithm 0."""
    spec = spec_of(2, 0)

    with only(mask):
        assert leaf.leaf_hashes(spec, None, None, 1) == reference.leaf_hash(spec, bytes(16), b"")
        opening = leaf.opening(spec, bytes(16))
        assert leaf.leaf_hash_opened(2, spec.key_id, spec.scope, opening, b"") == reference.leaf_hash(
            spec, bytes(16), b""
        )


@masks
def test_salts_at_any_place(mask: int) -> None:
    """Any stretch of salts equals the definition: odd starts, odd lengths, across batches, up to the last counter."""
    expected = [reference.salt(SEED, i) for i in range(1100)]
    with only(mask):
        for first in (0, 1, 2, 255, 256, 257, 511, 513):
            for count in (0, 1, 2, 3, 255, 256, 257, 511, 512, 513):
                assert leaf.salts(SEED, first, count) == b"".join(expected[first : first + count])
        last = (1 << 33) - 3
        assert leaf.salts(SEED, last, 3) == b"".join(reference.salt(SEED, last + i) for i in range(3))


def test_every_field_of_a_record_counts() -> None:
    """A record is what its definition says, and no field may change without changing it."""
    fields: list[tuple[Any, Any]] = [
        (1, 2),
        (0, 1),
        (1, 0x0102),
        (7, 1 << 40),
        (1_763_900_000_000_000_000, 1),
        (b"head", b"headx"),
    ]
    base = [first for first, _ in fields]
    seen = set()
    for position in range(len(fields) + 1):
        changed = [*base]
        if position < len(fields):
            changed[position] = fields[position][1]
        record = leaf.record_hash(*changed)
        assert record == reference.record_hash(*changed)
        seen.add(record)

    assert len(seen) == len(fields) + 1


def test_scope_separates_name_and_line() -> None:
    """Moving a character from name to line gives another scope; both are hashed with their lengths, as UTF-8."""
    for name, line in [("a/b", "c"), ("a/bc", ""), ("", ""), ("é/ü", "ß")]:
        assert leaf.scope(name, line) == reference.scope(name, line)

    assert leaf.scope("a/b", "c") != leaf.scope("a/bc", "")


@masks
@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 1000])
def test_items_root(count: int, mask: int) -> None:
    """The root over names equals the definition, with empty, long and non-ASCII names."""
    names = ["" if i % 7 == 0 else f"ärtifact-{i}" * (i % 13) for i in range(count)]
    sizes = [i * 0x0101010101 for i in range(count)]
    expected = reference.items_root(SEED, names, sizes)

    with only(mask):
        assert leaf.items_root(SEED, leaf.pack_names(names, sizes), count) == expected


def test_items_root_without_names() -> None:
    """No names give the empty tree's root, whatever the count."""
    assert leaf.items_root(SEED, b"", 100_000) == hashlib.sha256().digest()


@pytest.mark.parametrize("change", ["short", "long", "more", "fewer", "huge"])
def test_items_root_refuses_another_shape(change: str) -> None:
    """A names block that does not hold exactly the items is refused."""
    block, count = leaf.pack_names(["a", "b"], [1, 2]), 2
    if change == "short":
        block = block[:-1]
    if change == "long":
        block += b"x"
    if change == "huge":
        block = block[:8] + b"\xff\xff\xff\xff" + block[12:]
    count += {"more": 1, "fewer": -1}.get(change, 0)

    with pytest.raises(CoreError) as caught:
        leaf.items_root(SEED, block, count)
    assert caught.value.name == "SP_E_ENCODING"


@pytest.mark.parametrize(
    ("kind", "algorithm", "size", "name"),
    [
        (0, 1, 32, "SP_E_ARGUMENT"),
        (4, 1, 32, "SP_E_ARGUMENT"),
        (1, 0, 0, "SP_E_ALGORITHM"),
        (1, 4, 32, "SP_E_ALGORITHM"),
        (2, 1, 32, "SP_E_ALGORITHM"),
        (1, 1, 31, "SP_E_BOUNDS"),
        (1, 1, 48, "SP_E_BOUNDS"),
        (3, 3, 32, "SP_E_BOUNDS"),
        (2, 0, 32, "SP_E_BOUNDS"),
    ],
)
def test_a_verifier_refuses_other_shapes(kind: int, algorithm: int, size: int, name: str) -> None:
    """Kind, algorithm and digest length must fit one another."""
    with pytest.raises(CoreError) as caught:
        leaf.leaf_hash_opened(kind, bytes(32), bytes(32), bytes([algorithm]) + bytes(60), bytes(size))
    assert caught.value.name == name


def test_events_come_alone() -> None:
    """An event with digests or a request without them is refused, as is a column of the wrong length."""
    for spec, seed, digests, count in [
        (spec_of(2, 0), SEED, None, 1),
        (spec_of(2, 0), None, None, 2),
        (spec_of(1, 1), None, bytes(32), 1),
        (spec_of(1, 1), SEED, None, 1),
        (spec_of(1, 1), SEED, bytes(33), 1),
        (spec_of(1, 1), bytes(31), bytes(32), 1),
    ]:
        with pytest.raises(CoreError):
            leaf.leaf_hashes(spec, seed, digests, count)
