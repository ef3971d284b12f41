"""Whether a key that the custodian reports may be used: kind, attributes, proof of birth, and that nobody knows it.

Guarantees: what the token says is compared with what the class demands and the approvers read; a proof by the custodian
is checked and is of this very change. Does not: verify a vendor's attestation or a ceremony's report: their digests are
recorded, and the approvers of the activation look at them.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealpress.errors import Invalid
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.desk import Desk
from sealpress.values import KeyClass
from sealpress.verify import lattice, note, origin
from sealpress.verify.change import ChangeRecord
from sealpress.verify.curves import curve_of

DEMANDED = {
    "sensitive": True,
    "always_sensitive": True,
    "never_extractable": True,
    "extractable": False,
    "local": True,
    "private": True,
    "token": True,
}
PROVED = frozenset({KeyClass.RELEASE, KeyClass.FIRMWARE, KeyClass.ROOT})


def wrong(desk: Desk, record: ChangeRecord, asked: c.KeyRequest, report: f.KeyGenerated) -> str:
    """Why the key may not be used (GR-03, 04, 05, 84); empty if it may."""
    adopted = record.kind == "key.adopt"
    if desk.policy is not None and report.key_id in desk.policy.denied:
        return "its public key is on the list of keys that others know (GR-84)"
    if algorithm_of(report.spki) != asked.algorithm:
        return f"it is no {asked.algorithm} key"
    if asked.class_ is KeyClass.TEST:
        return ""
    if asked.algorithm == "rsa2048":
        return "RSA with 2048 bits is for class test only (CSBR 6.1.5.2)"
    if report.software_token and desk.anchors.profile != "lab":
        return "a software token is for class test only (GR-04)"
    for name, value in DEMANDED.items():
        if report.attributes.get(name) is not value and not (adopted and name == "local"):
            return f"the token says {name} = {report.attributes.get(name)} (GR-03)"
    if not adopted and asked.class_ in PROVED and report.origin == "none":
        return "no proof that the key was born in hardware (GR-05)"
    return _unproved(record, asked, report) if report.origin == "custodian" else ""


def sha256_of(spki: str) -> str:
    """Of a public key in base64, as hex; empty if it is not base64."""
    try:
        return hashlib.sha256(base64.b64decode(spki, validate=True)).hexdigest()
    except ValueError:
        return ""


def algorithm_of(spki: str) -> str:
    """As a key request names it; empty for a key of another kind, and for another spelling than the canonical one."""
    try:
        raw = base64.b64decode(spki, validate=True)
        public = note.public_key(raw)
        if note.canonical_spki(raw) != raw:
            return ""
    except (Invalid, ValueError):
        return ""
    match public:
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ec.EllipticCurvePublicKey():
            curve = curve_of(public)
            return curve.kind if curve is not None else ""
        case rsa.RSAPublicKey(key_size=size):
            return f"rsa{size}"
        case _:
            return lattice.parameter_set_of(public).kind


def _unproved(record: ChangeRecord, asked: c.KeyRequest, report: f.KeyGenerated) -> str:
    """Why the custodian's proof does not hold; empty if it does."""
    try:
        born = origin.check(report.origin_proof, base64.b64decode(report.spki))
    except Invalid as error:
        return f"its proof of birth: {error.message}"
    if report.origin_sha256 != hashlib.sha256(origin.render(born)).hexdigest():
        return "origin_sha256 is not of its proof of birth"
    attributes = tuple(sorted(report.attributes.items()))
    said = (born.change_id, born.change_sha256, born.key, born.line, born.attributes, born.operator)
    if said != (record.change_id, record.sha256, asked.key, asked.line, attributes, report.operator):
        return "its proof of birth is of another birth"
    return ""
