"""What the custodian does on a token: make a key, take one over, ask for its certificate, destroy it (GR-03, 05, 115).

Each act takes a mandate (custody.py) and gives a report for the governance log. The custodian is a process of its own,
started on demand with a configuration of its own: the signer never makes or destroys keys, and the custodian signs
nothing but a key's birth, its adoption and its certificate request (GR-15).

Guarantees: a key whose attributes, read back from the token, are not as demanded is destroyed again and reported as an
error; the signature over its birth is verified before it is reported, and that of an adopted key shows that both of
its objects are of one key. Does not: choose keys, slots or persons.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Literal

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sealpress.core import p11
from sealpress.errors import CannotStart, Invalid, NotPermitted
from sealpress.hsm import objects
from sealpress.hsm.custody import Mandate
from sealpress.hsm.mechanisms import chosen
from sealpress.hsm.module import Token
from sealpress.hsm.objects import SOFTWARE_TOKENS, Pair
from sealpress.hsm.signatures import Cosigner, WrongSignature, direct_scheme
from sealpress.hsm.work import WorkerJob
from sealpress.values import Format, KeyClass, Mode
from sealpress.verify import note, origin
from sealpress.verify.change import Canonical, Hex32, Name, Natural, Text
from sealpress.verify.direct import usual_algorithm

_ADOPTION = b"sealpress/key-adopt\n"  # no artifact, and no checkpoint


class Generated(Canonical, frozen=True, kw_only=True):
    """The fields of the fact key.generated."""

    key: Name
    spki: Text  # base64
    key_id: Hex32
    attributes: dict[str, bool]
    origin: Literal["attestation", "ceremony", "custodian", "none"]
    origin_proof: Text
    origin_sha256: Name
    software_token: bool
    operator: Name
    accepted_risk: Text = ""


class SlotSearched(Canonical, frozen=True, kw_only=True):
    """One token that was searched for a key. Without login its private objects cannot be seen."""

    module: Name
    label: Name
    serial: Name
    slot: Name  # of the configuration; empty if it names no such token
    logged_in: bool
    found: Natural


class DestroyProof(Canonical, frozen=True, kw_only=True):
    """A key was destroyed, and then it was on no slot."""

    key: Name
    line: Name
    key_id: Hex32
    change_id: Name
    destroyed: Natural  # objects: private and public
    slots: tuple[SlotSearched, ...]
    time: Natural
    operator: Name

    @property
    def found(self) -> int:
        """Objects that are still there."""
        return sum(slot.found for slot in self.slots)


def cka_id(change_id: str) -> bytes:
    """The id of the key that this change makes: so that it is made once, and found again after a crash."""
    return hashlib.sha256(b"sealpress key\0" + change_id.encode()).digest()[:16]


def generate(
    token: Token, mandate: Mandate, operator: str, now: int, template: dict[Any, bool] | None = None
) -> Generated:
    """A new key on the token, as the approved change of kind key.issue says. `template`: another than ours (tests)."""
    change, asked = mandate.change, mandate.asked
    name = cka_id(change.change_id)
    session = token.open_session(write=True)
    if any(objects.find(session, name, "")):
        raise CannotStart(
            "the key of this change is on the token already",
            reason="KEY_EXISTS",
            hint=f"its CKA_ID is {name.hex()}; take its report from the first run, or destroy it and propose again",
        )
    if any(objects.find(session, b"", asked.key)):
        raise CannotStart(
            f"a key with the label {asked.key!r} is on the token already",
            reason="KEY_EXISTS",
            hint="propose it with another id, or take the other key away first",
        )
    pair = objects.make(session, asked.algorithm, name, asked.key, template)
    try:
        told = objects.attributes(pair.private)
        wrong = objects.deviation(told)
        if wrong:
            raise Invalid(
                f"the new key is not as it must be: {wrong}; it was destroyed",
                reason="KEY_ATTRIBUTES",
                hint="use a token that keeps keys to itself (GR-03)",
            )
        birth = origin.Birth(
            change.change_id,
            change.sha256,
            asked.key,
            asked.line,
            hashlib.sha256(pair.spki).hexdigest(),
            tuple(sorted(told.items())),
            now,
            operator,
        )
        statement = origin.render(birth)
        proof = origin.prove(statement, sign(token, pair, statement))
    except BaseException:
        objects.destroy(pair.private, pair.public)  # no key without its proof
        raise
    return Generated(
        key=asked.key,
        spki=base64.b64encode(pair.spki).decode(),
        key_id=hashlib.sha256(pair.spki).hexdigest(),
        attributes=told,
        origin="custodian",
        origin_proof=proof,
        origin_sha256=hashlib.sha256(statement).hexdigest(),
        software_token=token.maker in SOFTWARE_TOKENS,
        operator=operator,
    )


def adopt(token: Token, mandate: Mandate, name: bytes, label: str, operator: str) -> Generated:
    """An existing key becomes a line's key: attributes read back, no proof of its birth, an accepted risk instead."""
    asked = mandate.asked
    if not asked.accepted_risk.strip():
        raise NotPermitted(
            "the change accepts no risk: where an adopted key was born nobody can prove",
            reason="RISK_NOT_ACCEPTED",
            hint="the change's request says in `accepted_risk` why that is borne",
        )
    pair = objects.pair_of(token.open_session(), asked.key, name, label)
    told = objects.attributes(pair.private)
    wrong = objects.deviation(told, adopted=True)
    if wrong and asked.class_ is not KeyClass.TEST:
        raise Invalid(f"the key is not as it must be: {wrong}", reason="KEY_ATTRIBUTES", hint="generate a new one")
    _try_out(token, pair, asked.format, _ADOPTION + mandate.change.sha256.encode())
    return Generated(
        key=asked.key,
        spki=base64.b64encode(pair.spki).decode(),
        key_id=hashlib.sha256(pair.spki).hexdigest(),
        attributes=told,
        origin="none",
        origin_proof="",
        origin_sha256="",
        software_token=token.maker in SOFTWARE_TOKENS,
        operator=operator,
        accepted_risk=asked.accepted_risk,
    )


def destroy(token: Token, what: str, name: bytes, label: str, spki: bytes) -> int:
    """C_DestroyObject of both objects, or of what is left of them; how many. Refused for any but the pinned key."""
    session = token.open_session(write=True)
    left = objects.left_of(session, what, name, label, spki, seen=bool(token.logged_in()))
    objects.destroy(*left)
    return len(left)


def sign(token: Token, pair: Pair, message: bytes) -> bytes:
    """The key's signature over a message that this process made; verified (L5)."""
    cosigner = Cosigner(pair.spki)
    raw = _operation(token, pair, cosigner.job("", message))
    try:
        return cosigner.finish(message, raw)
    except WrongSignature:
        raise _wrong() from None


def pem(spki: bytes) -> str:
    """The public key for `[key.<id>] public_key`."""
    return load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _try_out(token: Token, pair: Pair, format_: Format, message: bytes) -> None:
    """The private object signs for the public one, as its line will have it sign; the signature is thrown away."""
    if format_ is Format.TLOG_PROOF:
        sign(token, pair, message)
        return
    scheme, algorithm = direct_scheme(Mode.DIRECT, format_, pair.spki), usual_algorithm(note.public_key(pair.spki))
    assert scheme is not None
    digest = hashlib.new(algorithm.label, message).digest()
    try:
        scheme.finish(algorithm, digest, _operation(token, pair, scheme.job("", algorithm, digest)))
    except WrongSignature:
        raise _wrong() from None


def _operation(token: Token, pair: Pair, asked: WorkerJob) -> bytes:
    job = chosen(asked, token.mechanisms)
    session = token.open_session()
    pool = p11.Pool([int(session.handle)])
    try:
        (outcome,) = pool.sign([p11.Job(pair.handle, job.mechanism, job.parameter, job.size, job.data)])
    finally:
        pool.close()
    if outcome.rv or outcome.session is None:
        raise CannotStart(f"the token did not sign (CKR 0x{outcome.rv:x})", reason="TOKEN_FAILED")
    return outcome.signature


def _wrong() -> CannotStart:
    return CannotStart(
        "the token's signature does not verify",
        reason="WRONG_SIGNATURE",
        hint="the private and the public object of this id and label may be of two keys; do not use them",
    )
