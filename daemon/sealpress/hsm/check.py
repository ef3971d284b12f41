"""Looks at every token of one module and says what it is and can: the first thing to run with a new HSM.

A process of its own per module (inquiry.py) is told what is configured. A configured key signs a random text under a
prefix of ours, which is no artifact and no checkpoint; the signature is verified and thrown away. A key that nobody
configured is listed and never used.

Guarantees: one C_Login at most per token, none with a PIN that was rejected before or while the token is about to lock;
nothing on the token is changed. Does not: say what to do about it (advice.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, Mechanism, ObjectClass, TokenFlag
from pkcs11.exceptions import PKCS11Error

from sealpress.core import p11
from sealpress.errors import CannotStart, ConfigError, CoreError, SealpressError
from sealpress.hsm import inquiry, objects
from sealpress.hsm.findings import Ask, KeyFound, Known, KnownKey, ModuleFound, Rate, TokenFound
from sealpress.hsm.login import PinRefused
from sealpress.hsm.mechanisms import MECHANISMS, chosen
from sealpress.hsm.module import Token, TokenName, answered, load, serial_of, tokens_of
from sealpress.hsm.shelf import Shelf
from sealpress.hsm.signatures import Cosigner, WrongSignature, direct_scheme
from sealpress.hsm.work import WorkerJob
from sealpress.values import Format, Mode
from sealpress.verify import lattice
from sealpress.verify.direct import usual_algorithm
from sealpress.verify.note import public_key

_TEXT = b"sealpress/hsm-check\n"
_RATE_NS = 100_000_000  # how long each number of sessions is kept busy, about
_JOBS = (16, 4_096)

_ABOUT = attrgetter("manufacturer_id", "library_description", "library_version")  # of a module: C_GetInfo


# ---- the process that asks -------------------------------------------------------------------------------------------


def check_module(ask: Ask) -> ModuleFound:
    """In a process of its own; one that crashes or hangs is a finding."""
    try:
        return inquiry.ask("sealpress.hsm.check", ask, ModuleFound)
    except inquiry.NoAnswer as error:
        return ModuleFound(module=ask.module, problem=str(error))


# ---- the process that looks ------------------------------------------------------------------------------------------


def look(ask: Ask) -> ModuleFound:
    """Every configured token, then every other one that the module shows."""
    tokens: list[TokenFound] = []
    loaded = load(TokenName(ask.module, ask.reserved, "", ""))
    slots: dict[tuple[str, str], str] = {}
    for known in ask.known:
        try:
            tokens.append(_look_at(ask, known, slots))
        except (CannotStart, CoreError) as error:
            tokens.append(_unseen(known.slot, known.label, known.serial, error))
    seen = {(one.serial, one.label) for one in tokens}
    for raw in tokens_of(loaded):
        label = str(raw.label).strip()
        if label and (serial_of(raw), label) not in seen:
            tokens.append(_other(ask, serial_of(raw), label))
            seen.add((serial_of(raw), label))
    maker, description, version = _ABOUT(loaded)
    return ModuleFound(
        module=ask.module,
        maker=str(maker).strip("\0 "),
        description=str(description).strip("\0 "),
        version=".".join(map(str, version)),
        locks=not p11.single_threaded(),
        tokens=tuple(tokens),
    )


def _other(ask: Ask, serial: str, label: str) -> TokenFound:
    """A token that nobody configured: one that cannot be looked at keeps no other from being."""
    try:
        return _facts(Token(TokenName(ask.module, ask.reserved, serial, label)), "")
    except (CannotStart, CoreError) as error:
        return _unseen("", label, serial, error)


def _unseen(slot: str, label: str, serial: str, error: SealpressError) -> TokenFound:
    return TokenFound(
        slot=slot, label=label, serial=serial, maker="", model="", firmware="", flags=(),
        sessions_max=None, mechanisms=(), problem=f"{error.reason}: {error.message}: {error.hint}",
    )  # fmt: skip


def _facts(token: Token, slot: str) -> TokenFound:
    raw = token.raw
    try:
        mechanisms = sorted(raw.slot.get_mechanisms())
    except PKCS11Error as error:
        raise answered("the token does not list its mechanisms", error) from None
    return TokenFound(
        slot=slot,
        label=str(raw.label).strip(),
        serial=token.serial,
        maker=token.maker,
        model=str(raw.model).strip("\0 "),
        firmware=".".join(map(str, raw.firmware_version)),
        flags=tuple(flag.name for flag in TokenFlag if flag in TokenFlag(raw.flags) and flag.name is not None),
        sessions_max=token.sessions_max,
        mechanisms=tuple(one.name if isinstance(one, Mechanism) else f"0x{int(one):x}" for one in mechanisms),
    )


def _look_at(ask: Ask, known: Known, slots: dict[tuple[str, str], str]) -> TokenFound:
    """`slots`: those that were looked at before, by their token."""
    token = Token(TokenName(ask.module, ask.reserved, known.serial, known.label))
    found = _facts(token, known.slot)
    first = slots.setdefault((found.serial, found.label), known.slot)
    if first != known.slot:
        return msgspec.structs.replace(found, problem=f"this is the token of [slot.{first}]: a token has one slot")
    if not known.pin_file:
        return msgspec.structs.replace(found, problem="no PIN file is given: private keys cannot be seen")
    try:
        token.login(known.pin_file, ask.tag_key, known.rejected)
    except PinRefused as error:
        return msgspec.structs.replace(found, problem=f"{error.reason}: {error.message}", rejected=error.tag)
    except CannotStart as error:
        return msgspec.structs.replace(found, problem=f"{error.reason}: {error.message}")
    tried = [_try(ask, token, one, known.keys) for one in _private_keys(token)]
    keys = tuple(key for key, _ in tried)
    there = {key.key for key in keys}
    able = [job for key, job in tried if key.signature == "good" and job is not None]
    return msgspec.structs.replace(
        found,
        logged_in=True,
        keys=keys,
        missing=tuple(one.key for one in known.keys if one.key not in there),
        rates=tuple(_rates(token, able[0], known.sessions)) if able else (),
    )


def _private_keys(token: Token) -> list[tuple[Any, bytes]]:
    """Private key objects that may sign, with the SPKI of the public object of the same id and label; or no bytes."""
    session = token.open_session()
    try:
        found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.SIGN: True}))
        public = Shelf(list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})))
    except PKCS11Error as error:
        raise answered("the token's keys cannot be listed", error) from None
    named = sorted(((objects.named(one), one) for one in found), key=lambda pair: pair[0][::-1])
    return [(private, public.spki(*name)) for name, private in named]


def _try(
    ask: Ask, token: Token, pair: tuple[Any, bytes], known: tuple[KnownKey, ...]
) -> tuple[KeyFound, p11.Job | None]:
    """What a key is, and whether it signs; the job that it did, to measure with."""
    private, spki = pair
    ours = next((one for one in known if one.spki == spki), None)
    told = objects.attributes(private)
    cka_id, label = objects.named(private)
    found = KeyFound(
        key=ours.key if ours is not None else "",
        label=label,
        cka_id=cka_id.hex(),
        kind=_kind(spki),
        spki=spki,
        attributes=told,
        deviation=objects.deviation(told, adopted=True),
        signature="untried",
        latency_us=0,
    )
    if not spki or (ours is None and not ask.every_key):
        return found, None
    try:
        scheme = _Scheme(spki, ours.format if ours is not None else None, _TEXT + ask.nonce)
    except ConfigError as error:
        return msgspec.structs.replace(found, signature=error.message), None
    made = chosen(scheme.made(), token.mechanisms)
    job = p11.Job(int(private.handle), made.mechanism, made.parameter, made.size, made.data)
    pool = p11.Pool([int(token.open_session().handle)])
    try:
        (outcome,) = pool.sign([job])
    finally:
        pool.close()
    signature = f"CKR 0x{outcome.rv:x}" if outcome.rv else scheme.judge(outcome.signature)
    took_us, mechanism = outcome.elapsed_ns // 1_000, MECHANISMS[made.mechanism]
    return msgspec.structs.replace(found, signature=signature, latency_us=took_us, mechanism=mechanism), job


class _Scheme:
    """How a key signs our text: as its format says, or as its kind suggests."""

    def __init__(self, spki: bytes, format_: Format | None, text: bytes) -> None:
        self._text = text
        public = load_der_public_key(spki)
        self._cosigner: Cosigner | None = None
        self._direct = None
        if isinstance(public, ed25519.Ed25519PublicKey | lattice.PublicKey) or format_ is Format.TLOG_PROOF:
            self._cosigner = Cosigner(spki)
        else:
            suggested = Format.RSA_PKCS1V15 if isinstance(public, rsa.RSAPublicKey) else Format.ECDSA_DER
            self._direct = direct_scheme(Mode.DIRECT, format_ or suggested, spki)
        self._algorithm = usual_algorithm(public_key(spki))

    def judge(self, raw: bytes) -> str:
        try:
            if self._cosigner is not None:
                self._cosigner.finish(self._text, raw)
            elif self._direct is not None:
                self._direct.finish(self._algorithm, self._digest(), raw)
        except WrongSignature:
            return "WRONG: it does not verify"
        return "good"

    def made(self) -> WorkerJob:
        if self._cosigner is not None:
            return self._cosigner.job("", self._text)
        assert self._direct is not None
        return self._direct.job("", self._algorithm, self._digest())

    def _digest(self) -> bytes:
        return hashlib.new(self._algorithm.label, self._text).digest()


def _rates(token: Token, job: p11.Job, most: int) -> Iterator[Rate]:
    """With 1, 2, 4, … sessions, up to what is configured and allowed. A busy session's rate is one over its latency."""
    most = 1 if p11.single_threaded() else min(most, token.sessions_max or most)
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < most] + [most]
    for count in counts:
        sessions = [token.open_session() for _ in range(count)]
        pool = p11.Pool([int(session.handle) for session in sessions])
        try:
            mean_ns = _mean_ns(pool, job, _JOBS[0] * count)
            if mean_ns:
                jobs = min(max(_RATE_NS * count // mean_ns, _JOBS[0]), _JOBS[1])
                yield Rate(count, round(count * 1e9 / (_mean_ns(pool, job, jobs) or mean_ns), 1))
        finally:
            pool.close()
            for session in sessions:
                session.close()


def _mean_ns(pool: p11.Pool, job: p11.Job, count: int) -> int:
    good = [outcome.elapsed_ns for outcome in pool.sign([job] * count) if outcome.rv == 0]
    return sum(good) // len(good) if good else 0


def _kind(spki: bytes) -> str:
    public = load_der_public_key(spki) if spki else None
    if isinstance(public, lattice.PublicKey):
        return lattice.parameter_set_of(public).kind
    match public:
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ec.EllipticCurvePublicKey() as public:
            return f"p{public.curve.key_size}"
        case rsa.RSAPublicKey() as public:
            return f"rsa{public.key_size}"
        case _:
            return "unknown"


if __name__ == "__main__":
    inquiry.answer(Ask, look)
