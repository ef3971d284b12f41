"""Is a reported key one that may be used: of the right kind, known to nobody else, and proved to be born for this?"""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from kit.approving import make_change
from kit.town import Town
from kit.townsfolk import LINES, birth, key_request, person, proved
from sealpress.governance import birth as rules
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.verify.change import ChangeRecord, encode

LINE = next(line for line, class_ in LINES.items() if class_ == "release")


def desk(**policy: object) -> Desk:
    """The town's, with other parts of the policy."""
    town = Town()
    assert town.policy is not None
    return Desk(town.state, replace(town.policy, **policy), town.now, lambda: "id")  # type: ignore[arg-type]


def case(**report: object) -> tuple[ChangeRecord, f.KeyGenerated]:
    """A change for a key, and what the custodian reports."""
    asked = key_request("k1", LINE, Town().now)
    record = make_change(kind="key.issue", line=LINE, request=encode(asked).decode())
    return record, structs.replace(birth("k1", person("ines")), **report)


def judged(found: Desk, record: ChangeRecord, report: f.KeyGenerated) -> str:
    """What the rules say."""
    return rules.wrong(found, record, key_request("k1", LINE, found.now), report)


def test_a_good_key_is_good() -> None:
    """Attributes, kind and proof are as they must be: nothing is wrong."""
    record, report = case()

    assert judged(desk(), record, proved(report, record)) == ""


def test_a_key_that_others_know_is_refused() -> None:
    """GR-84: a public key on the policy's list serves no line, however it was made."""
    record, report = case()

    assert "GR-84" in judged(desk(denied=frozenset({report.key_id})), record, proved(report, record))


@pytest.mark.parametrize("kind", ["p256", "rsa3072", "nothing"])
def test_the_kind_is_the_approved_one(kind: str) -> None:
    """Approvers read ed25519: another kind of key is another key."""
    raw = b"nothing"
    if kind == "p256":
        raw = _spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    elif kind == "rsa3072":
        raw = _spki(rsa.generate_private_key(65_537, 3_072).public_key())
    record, report = case(spki=base64.b64encode(raw).decode(), origin="ceremony")

    assert judged(desk(), record, report) == "it is no ed25519 key"
    assert rules.algorithm_of(report.spki) == kind.replace("nothing", "")


def test_a_public_key_has_one_spelling() -> None:
    """A compressed point is the same key under another id, which no list and no line would know it by."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")

    assert rules.algorithm_of(base64.b64encode(_spki(public)).decode()) == "p256"
    assert rules.algorithm_of(base64.b64encode(head + point).decode()) == ""


def test_a_proof_counts_for_its_own_birth_only() -> None:
    """No proof, another change's, another operator's, other attributes, another key's: each is told."""
    record, report = case()
    good = proved(report, record)
    other = make_change(kind="key.issue", line=LINE, request="{}")
    strange = proved(structs.replace(report, operator=person("karl")), record)
    foreign = proved(birth("k1", person("ines"), "another"), record)
    looser = structs.replace(good, attributes={**good.attributes, "wrap": True})
    missing = structs.replace(good, origin_proof="", origin_sha256="")
    hashed = structs.replace(good, origin_sha256="0" * 64)

    assert "another birth" in judged(desk(), record, proved(report, other))
    for wrong in (strange, foreign):
        offered = structs.replace(good, origin_proof=wrong.origin_proof, origin_sha256=wrong.origin_sha256)
        assert judged(desk(), record, offered)
    assert "another birth" in judged(desk(), record, looser)
    assert "proof of birth" in judged(desk(), record, missing)
    assert "origin_sha256" in judged(desk(), record, hashed)


def _spki(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
