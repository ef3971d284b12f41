"""A second opinion on proofs: written from the formats alone, with the standard library and `cryptography`.

`verify` says what a good proof says and raises ValueError for every other one. It imports nothing of sealpress, so that
a mistake there cannot hide here; what both accept, a stranger accepts too.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

ALGORITHMS = {"sha256": (1, 32), "sha384": (2, 48), "sha512": (3, 64)}
LABEL = b"sealpress/cosignature/v1/"
LINE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62}){4}", re.ASCII)
# scheme of a line key: curve, hash, order
CURVES: dict[bytes, tuple[str, Any, int]] = {
    b"ecdsa-p256-sha256": (
        "secp256r1",
        hashes.SHA256(),
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    b"ecdsa-p384-sha384": (
        "secp384r1",
        hashes.SHA384(),
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
    b"ecdsa-p521-sha512": (
        "secp521r1",
        hashes.SHA512(),
        (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
    ),
}
LATTICES: dict[bytes, Any] = {
    b"ml-dsa-44": mldsa.MLDSA44PublicKey,
    b"ml-dsa-65": mldsa.MLDSA65PublicKey,
    b"ml-dsa-87": mldsa.MLDSA87PublicKey,
}


def verify(policy_text: str, algorithm: str, digest: bytes, proof: bytes, age_s_max: int = 300) -> dict[str, Any]:
    """What a good proof says of this digest ("sha256", "sha384" or "sha512"); ValueError for any other."""
    try:
        return _verify(_policy(policy_text), algorithm, digest, proof, age_s_max)
    except (InvalidSignature, LookupError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _need(good: object, what: str) -> None:
    if not good:
        raise ValueError(what)


# ---- canonical text ----


def _base64(text: str, size: int | None = None) -> bytes:
    data = base64.b64decode(text, validate=True)
    _need(base64.b64encode(data).decode() == text, "base64 has one spelling")
    _need(size is None or len(data) == size, "length of a base64 field")
    return data


def _decimal(text: str) -> int:
    _need(re.fullmatch(r"0|[1-9][0-9]{0,19}", text, re.ASCII) and int(text) < 1 << 64, "a decimal")
    return int(text)


def _after(prefix: str, line: str) -> str:
    _need(line.startswith(prefix), f"a line begins with {prefix!r}")
    return line[len(prefix) :]


@dataclass
class Parsed:
    """The fields of a proof text."""

    opening: bytes
    index: int
    path: list[bytes]
    text: bytes  # what is signed
    origin: str
    size: int
    root: bytes
    signatures: dict[tuple[str, bytes], bytes] = field(default_factory=dict)


def parse(proof: bytes) -> Parsed:
    """Strictly: one spelling only."""
    _need(len(proof) <= 65536 and proof.endswith(b"\n"), "size or last newline")
    text = proof.decode()
    _need(not any((ord(c) < 32 and c != "\n") or ord(c) == 127 for c in text), "control characters")
    magic, extra, index, *rest = text[:-1].split("\n")
    _need(magic == "c2sp.org/tlog-proof@v1", "first line")
    end = rest.index("")
    _need(end <= 63, "at most 63 hashes")
    origin, size, root, blank, *lines = rest[end + 1 :]
    _need(origin and blank == "" and 1 <= len(lines) <= 16, "three lines, a blank one, 1 to 16 signatures")
    parsed = Parsed(
        _base64(_after("extra ", extra), 61),
        _decimal(_after("index ", index)),
        [_base64(line, 32) for line in rest[:end]],
        f"{origin}\n{size}\n{root}\n".encode(),
        origin,
        _decimal(size),
        _base64(root, 32),
    )
    for line in lines:
        name, encoded = _after("\u2014 ", line).split(" ")
        _need(name and "+" not in name and not any(c.isspace() for c in name), "a key name")
        data = _base64(encoded)
        _need(len(data) > 4, "a signature")
        _need((name, data[:4]) not in parsed.signatures, "one signature of a key")
        parsed.signatures[name, data[:4]] = data[4:]
    return parsed


# ---- keys and trust ----


@dataclass
class Key:
    """A verifier key; `scheme` is log, ed25519, or what follows our label."""

    name: str
    key_id: bytes
    scheme: bytes
    public: Any
    spki: bytes


def vkey(text: str) -> Key:
    """`name+hex+base64(type || key)`."""
    name, key_id, encoded = text.split("+", 2)
    material = _base64(encoded)
    _need(name and not any(c.isspace() for c in name), "a key name")
    _need(hashlib.sha256(name.encode() + b"\n" + material).digest()[:4].hex() == key_id, "the key id of a vkey")
    if material[0] in (1, 4) and len(material) == 33:
        scheme = b"log" if material[0] == 1 else b"ed25519"
        public: Any = ed25519.Ed25519PublicKey.from_public_bytes(material[1:])
    else:
        _need(material[0] == 0xFF and material[2:].startswith(LABEL), "a key type")
        scheme, public = material[2 + len(LABEL) : 2 + material[1]], load_der_public_key(material[2 + material[1] :])
        if scheme in LATTICES:
            _need(isinstance(public, LATTICES[scheme]), "the parameter set")
        elif scheme in CURVES:
            _need(isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == CURVES[scheme][0], "the curve")
        else:
            _need(scheme == b"rsa-pss-sha256" and isinstance(public, rsa.RSAPublicKey), "the scheme")
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    _need(material[0] != 0xFF or material.endswith(spki), "the canonical SPKI")
    return Key(name, bytes.fromhex(key_id), scheme, public, spki)


def _check(key: Key, text: bytes, signature: bytes) -> int:
    """The time that a cosigner states (0 for a log); InvalidSignature or ValueError if it did not sign."""
    if key.scheme == b"log":
        key.public.verify(signature, text)
        return 0
    _need(len(signature) > 8, "a time and a signature")
    time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
    message = b"cosignature/v1\ntime %d\n" % time + text
    if key.scheme == b"ed25519" or key.scheme in LATTICES:
        key.public.verify(signature, message)
    elif key.scheme in CURVES:
        _, hash_, order = CURVES[key.scheme]
        r, s = decode_dss_signature(signature)
        _need(encode_dss_signature(r, s) == signature and 0 < r < order and 0 < s <= order // 2, "strict DER, low s")
        key.public.verify(signature, message, ec.ECDSA(hash_))
    else:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        key.public.verify(signature, message, pss, hashes.SHA256())
    return time


@dataclass
class Trust:
    """A tlog-policy."""

    logs: dict[str, Key] = field(default_factory=dict)
    witnesses: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    quorum: str = ""


def _policy(text: str) -> Trust:
    trust = Trust()
    for line in text.splitlines():
        match line.split():
            case []:
                continue
            case [word, *_] if word.startswith("#"):
                continue
            case ["log", key, *_]:
                trust.logs[vkey(key).name] = vkey(key)
            case ["witness", name, key, *_]:
                trust.witnesses[name] = vkey(key)
            case ["group", name, threshold, *members]:
                count = {"any": 1, "all": len(members)}.get(threshold) or _decimal(threshold)
                trust.groups[name] = count, members
            case ["quorum", name]:
                trust.quorum = name
            case _:
                raise ValueError(f"policy: {line}")
    _need(trust.logs and trust.quorum and "line" in trust.witnesses, "a log, a witness called line, a quorum")
    return trust


def _satisfied(trust: Trust, name: str, signed: set[str]) -> bool:
    if name in trust.groups:
        count, members = trust.groups[name]
        return sum(_satisfied(trust, member, signed) for member in members) >= count
    return name in signed


# ---- the judgement ----


def _leaf_hash(key: Key, log_name: str, line: str, opening: bytes, digest: bytes) -> bytes:
    names = [log_name.encode(), line.encode()]
    scope = b"sealpress/scope\0" + b"".join(len(name).to_bytes(2, "big") + name for name in names)
    leaf = b"sealpress/leaf\0\1" + b"\1\0" + hashlib.sha256(key.spki).digest() + hashlib.sha256(scope).digest()
    return hashlib.sha256(b"\0" + leaf + opening + digest).digest()


def _root(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2."""
    _need(index < size, "the index lies in the tree")
    fn, sn, r = index, size - 1, leaf
    for p in path:
        _need(sn, "a path that is too long")
        if fn & 1 or fn == sn:
            r = hashlib.sha256(b"\1" + p + r).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = hashlib.sha256(b"\1" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    _need(sn == 0, "a path that is too short")
    return r


def _verify(trust: Trust, algorithm: str, digest: bytes, proof: bytes, age_s_max: int) -> dict[str, Any]:
    number, length = ALGORITHMS[algorithm]
    parsed, line_key = parse(proof), trust.witnesses["line"]
    _need(len(digest) == length and parsed.opening[0] == number, "the digest's algorithm")
    host, label, line = line_key.name.split("/", 2)
    log_name = f"{host}/{label}"
    _need(LINE_NAME.fullmatch(line), "a line")
    log_key = trust.logs[parsed.origin]
    _need(re.fullmatch(re.escape(log_name) + "/[0-9]+", log_key.name), "a log of the line")
    leaf = _leaf_hash(line_key, log_name, line, parsed.opening, digest)
    _need(_root(leaf, parsed.index, parsed.size, parsed.path) == parsed.root, "the leaf folds to the root")

    _check(log_key, parsed.text, parsed.signatures[log_key.name, log_key.key_id])
    sealed = _check(line_key, parsed.text, parsed.signatures[line_key.name, line_key.key_id])
    signed = set()
    for name, key in trust.witnesses.items():
        if (key.name, key.key_id) in parsed.signatures:
            _check(key, parsed.text, parsed.signatures[key.name, key.key_id])
            signed.add(name)
    _need(_satisfied(trust, trust.quorum, signed), "the quorum")
    time = int.from_bytes(parsed.opening[5:13], "big")
    _need(time <= sealed <= time + age_s_max, "sealed within its time")
    return {
        "line": line,
        "origin": parsed.origin,
        "index": parsed.index,
        "size": parsed.size,
        "leaf_time": time,
        "sealed_time": sealed,
        "security_version": int.from_bytes(parsed.opening[1:5], "big"),
    }
