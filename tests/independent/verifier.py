"""A verifier written from the specification alone: the standard library and `cryptography`, nothing of sealpress.

It is the other opinion: whatever it accepts, sealpress must accept, and the other way round. Slow and plain on purpose.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

HEADER = "c2sp.org/tlog-proof@v1"
ALGORITHMS = {"sha256": (1, 32), "sha384": (2, 48), "sha512": (3, 64)}
P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
LABEL = b"sealpress/cosignature/v1/ecdsa-p256-sha256"


def need(condition: object, why: str) -> None:
    """ValueError unless it holds."""
    if not condition:
        raise ValueError(why)


def sha256(*parts: bytes) -> bytes:
    """Of the parts end to end."""
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text: str) -> bytes:
    """The bytes, if this is how they are written."""
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 in another spelling")
    return raw


def decimal(text: str) -> int:
    """A number without leading zeros."""
    need(re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII), "a number in another spelling")
    return int(text)


def policy(text: str) -> tuple[dict[str, bytes], str, bytes]:
    """Logs (origin to key), the name and the type bytes with key material of the line."""
    logs: dict[str, bytes] = {}
    lines: list[tuple[str, bytes]] = []
    for row in text.splitlines():
        words = row.split()
        if words[:1] == ["log"]:
            name, material = vkey(words[1])
            need(material[0] == 1 and len(material) == 33, "a log key is Ed25519")
            logs[name] = material[1:]
        elif words[:2] == ["witness", "line"]:
            lines.append(vkey(words[2]))
    need(logs and len(lines) == 1, "the policy names no log or not one line")
    return logs, *lines[0]


def vkey(text: str) -> tuple[str, bytes]:
    """Name and type bytes with key."""
    name, key_id, material = text.split("+", 2)
    raw = unbase64(material)
    need(sha256(name.encode(), b"\n", raw)[:4].hex() == key_id, "not its key id")
    return name, raw


def key_of(material: bytes) -> tuple[Any, bytes]:
    """The line's public key and its SPKI."""
    if material[0] == 4:
        public: Any = ed25519.Ed25519PublicKey.from_public_bytes(material[1:])
    else:
        need(material[: 2 + len(LABEL)] == b"\xff" + bytes([len(LABEL)]) + LABEL, "an unknown type of key")
        public = serialization.load_der_public_key(material[2 + len(LABEL) :])
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public, public.public_bytes(*form)


def leaf_hash(spki: bytes, name: str, opening: bytes, algorithm: str, digest: bytes) -> bytes:
    """The leaf that this line would have made of this digest, hashed."""
    number, size = ALGORITHMS[algorithm]
    need(len(opening) == 61 and opening[0] == number and len(digest) == size, "another digest algorithm")
    host, label, line = name.split("/", 2)
    log_name = f"{host}/{label}"
    scope = sha256(
        b"sealpress/scope\0",
        len(log_name).to_bytes(2, "big") + log_name.encode(),
        len(line).to_bytes(2, "big") + line.encode(),
    )
    return sha256(b"\0", b"sealpress/leaf\0\x01", b"\x01\0", sha256(spki), scope, opening, digest)


def fold(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Root from a leaf and its path (RFC 9162, 2.1.3.2)."""
    need(index < size, "the index is not in the tree")
    fn, sn, found = index, size - 1, leaf
    for node in path:
        need(sn > 0, "the path is too long")
        if fn & 1 or fn == sn:
            found = sha256(b"\1", node, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = sha256(b"\1", found, node)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the path is too short")
    return found


def parse(text: bytes) -> tuple[bytes, int, list[bytes], list[str], list[str]]:
    """Opening, index, path, the three rows of the checkpoint, the signature rows."""
    need(len(text) <= 65536 and b"\r" not in text and text.endswith(b"\n"), "not the form of a proof")
    head, _, rest = text.decode().partition("\n\n")
    rows = head.split("\n")
    need(len(rows) >= 3, "too few rows")
    need(rows[0] == HEADER and rows[1].startswith("extra ") and rows[2].startswith("index "), "not a proof")
    path = [unbase64(row) for row in rows[3:]]
    need(len(path) <= 63 and all(len(node) == 32 for node in path), "not hashes")
    checkpoint, blank, signatures = rest.partition("\n\n")
    note, signed = checkpoint.split("\n"), signatures[:-1].split("\n")
    need(blank and len(note) == 3 and 1 <= len(signed) <= 16, "not a checkpoint")
    need(all(ord(char) >= 32 and ord(char) != 127 for row in (*note, *signed) for char in row), "control characters")
    return unbase64(rows[1][6:]), decimal(rows[2][6:]), path, note, signed


def verify(policy_text: str, algorithm: str, digest: bytes, proof: bytes, age_s_max: int = 300) -> dict[str, Any]:
    """What a good proof says; ValueError for any other."""
    logs, name, material = policy(policy_text)
    public, spki = key_of(material)
    opening, index, path, note, signed = parse(proof)
    origin, size, root = note[0], decimal(note[1]), unbase64(note[2])
    need(origin in logs and len(root) == 32, "another log")
    need(fold(leaf_hash(spki, name, opening, algorithm, digest), index, size, path) == root, "not in this tree")
    text = "\n".join(note).encode() + b"\n"
    signatures: dict[tuple[str, bytes], bytes] = {}
    for row in signed:
        found = re.fullmatch("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)", row)
        need(found, "not a signature line")
        assert found is not None
        raw = unbase64(found[2])
        need(len(raw) > 4 and (found[1], raw[:4]) not in signatures, "a signature twice, or none")
        signatures[found[1], raw[:4]] = raw[4:]
    log_id = sha256(origin.encode(), b"\n\x01", logs[origin])[:4]
    line_id = sha256(name.encode(), b"\n", material)[:4]
    need((origin, log_id) in signatures, "the log did not sign")
    need((name, line_id) in signatures, "the line did not sign")
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(logs[origin]).verify(signatures[origin, log_id], text)
        sealed = check_line(public, signatures[name, line_id], text)
    except InvalidSignature:
        raise ValueError("a signature is wrong") from None
    time = int.from_bytes(opening[5:13], "big")
    need(time <= sealed <= time + age_s_max, "not sealed in time")
    return {"index": index, "size": size, "leaf_time": time, "sealed_time": sealed, "line": name.split("/", 2)[2]}


def check_line(public: Any, signature: bytes, text: bytes) -> int:
    """The time of a cosignature that is right."""
    time, raw = int.from_bytes(signature[:8], "big"), signature[8:]
    message = f"cosignature/v1\ntime {time}\n".encode() + text
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(raw, message)
        return time
    public.verify(raw, message, ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(raw)
    need(encode_dss_signature(r, s) == raw and s <= P256 // 2, "an ECDSA signature in another spelling")
    return time
