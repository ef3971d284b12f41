"""Does our reader of SSH signatures accept what ssh-keygen accepts, at most, and in one spelling only?"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import openssh
from kit.softkeys import (
    ED25519,
    RSA,
    SK_ECDSA,
    SK_ED25519,
    SK_TYPES,
    TYPES,
    SoftKey,
    armor,
    browser_json,
    dearmor,
    mpint,
    string,
)
from sealpress.errors import Invalid
from sealpress.verify import sshsig

MESSAGE, NAMESPACE = b"to be approved\n", "test@v1.sealpress"
ORIGIN = "https://sign.acme.example"
KEYS = {**{type_: SoftKey.make(type_) for type_ in TYPES}, "browser": SoftKey.make(SK_ECDSA, origin=ORIGIN)}


def refused(signature: str, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> str:
    """The reason why not."""
    with pytest.raises(Invalid) as caught:
        sshsig.verify(signature, message, namespace)
    assert caught.value.hint
    return caught.value.reason


@pytest.mark.parametrize("name", KEYS)
def test_soft_keys_are_what_ssh_keygen_says(name: str) -> None:
    """A signature of each type of key: ssh-keygen and we accept it, with the same fingerprint."""
    key = KEYS[name]
    signature = key.sign(MESSAGE, NAMESPACE)

    signed = sshsig.verify(signature, MESSAGE, NAMESPACE)

    assert openssh.verifies(key.line, MESSAGE, signature, NAMESPACE)
    assert signed.key == sshsig.parse_public_key(key.line + " a comment")
    assert signed.key.fingerprint == openssh.fingerprint(key.line)
    assert (signed.key.line, signed.key.sk) == (key.line, key.sk)
    assert signed.flags == (5 if key.sk else None)
    assert signed.key.application == ("ssh:sealpress" if key.sk else "")


@pytest.mark.parametrize(("type_", "options"), [("ed25519", ()), ("ecdsa", ("-b", "384")), ("rsa", ("-b", "3072"))])
def test_signatures_of_ssh_keygen_are_accepted(tmp_path: Path, type_: str, options: tuple[str, ...]) -> None:
    """What stock ssh-keygen makes, we read to the byte."""
    key = openssh.KeyFile(tmp_path, type_, *options)

    signed = sshsig.verify(key.sign(MESSAGE, NAMESPACE), MESSAGE, NAMESPACE)

    assert signed.key.line == key.line
    assert (signed.flags, signed.counter) == (None, None)


@pytest.mark.parametrize("algorithm", ["rsa-sha2-256", "rsa-sha2-512"])
def test_both_algorithms_of_rsa(algorithm: str) -> None:
    """SHA-256 and SHA-512 count."""
    key = SoftKey(RSA, KEYS[RSA].private, rsa_algorithm=algorithm)

    assert sshsig.verify(key.sign(MESSAGE, NAMESPACE), MESSAGE, NAMESPACE).key.type == RSA


def test_sha1_is_refused() -> None:
    """RSA with SHA-1 does not count."""
    assert refused(SoftKey(RSA, KEYS[RSA].private, rsa_algorithm=RSA).sign(MESSAGE, NAMESPACE)) == "SSHSIG_KEY"


def test_short_rsa_keys_are_refused() -> None:
    """RSA begins at 3072 bits, although ssh-keygen takes 2048."""
    key = SoftKey.make(RSA, bits=2048)
    signature = key.sign(MESSAGE, NAMESPACE)

    assert openssh.verifies(key.line, MESSAGE, signature, NAMESPACE)
    assert refused(signature) == "SSHSIG_KEY"


@pytest.mark.parametrize("name", KEYS)
def test_another_text_or_namespace(name: str) -> None:
    """A signature counts for its text and its namespace only."""
    signature = KEYS[name].sign(MESSAGE, NAMESPACE)

    assert refused(signature, MESSAGE + b" ") == "SSHSIG_SIGNATURE"
    assert refused(signature, b"") == "SSHSIG_SIGNATURE"
    assert refused(signature, namespace="file") == "SSHSIG_NAMESPACE"


WRONG = [
    ({"algorithm": "sha256"}, "SSHSIG_HASH"),  # ssh-keygen takes it; GOVERNANCE 5 does not
    ({"reserved": b"x"}, "SSHSIG_HASH"),
    ({"magic": b"SSHSIC"}, "SSHSIG_FORMAT"),
    ({"version": 0}, "SSHSIG_FORMAT"),
    ({"version": 2}, "SSHSIG_FORMAT"),
    ({"tail": b"\0"}, "SSHSIG_FORMAT"),
]


@pytest.mark.parametrize(("wrong", "reason"), WRONG)
def test_wrong_envelopes(wrong: dict[str, object], reason: str) -> None:
    """Each field of the envelope has one allowed value."""
    assert refused(KEYS[SK_ED25519].sign(MESSAGE, NAMESPACE, **wrong)) == reason


def other_spellings(signature: str) -> dict[str, str]:
    """Files that a lenient reader takes for the same signature."""
    text = "".join(signature.split("\n")[1:-2])
    lines = signature.split("\n")
    return {
        "CRLF": signature.replace("\n", "\r\n"),
        "no newline at the end": signature[:-1],
        "a line more": signature + "\n",
        "text before": "\n" + signature,
        "64 columns": "\n".join([lines[0], *(text[at : at + 64] for at in range(0, len(text), 64)), *lines[-2:]]),
        "one line": "\n".join([lines[0], text, *lines[-2:]]),
        "a space": signature.replace(lines[1], lines[1] + " "),
        "no end": signature.replace("END", "FIN"),
        "no padding": signature.replace("=", ""),
        "other alphabet": signature.replace("\n", "\n-", 1),
        "empty": "",
        "nothing inside": "\n".join([lines[0], *lines[-2:]]),
        "umlaut": signature.replace(lines[1][:1], "ü", 1),
        "too long": lines[0] + "\n" + "A" * (16 << 10),
    }


@pytest.mark.parametrize("name", other_spellings(KEYS[RSA].sign(MESSAGE, NAMESPACE)))
def test_one_spelling(name: str) -> None:
    """A signature file is what ssh-keygen writes, to the byte."""
    signature = other_spellings(KEYS[RSA].sign(MESSAGE, NAMESPACE))[name]
    if name == "no padding" and "=" not in KEYS[RSA].sign(MESSAGE, NAMESPACE):
        signature = signature.replace("\n-----END", "=\n-----END")

    assert refused(signature) == "SSHSIG_ARMOR"


@pytest.mark.parametrize("name", KEYS)
def test_every_byte_of_a_signature_counts(name: str) -> None:
    """One bit more or less in any byte, or one byte less: refused."""
    blob = dearmor(KEYS[name].sign(MESSAGE, NAMESPACE))

    for at in range(len(blob)):
        flipped = bytearray(blob)
        flipped[at] ^= 1 << at % 8
        assert refused(armor(bytes(flipped))).startswith("SSHSIG_"), at
        assert refused(armor(blob[:at] + blob[at + 1 :])).startswith("SSHSIG_"), at


def with_numbers(signature: str, numbers: Callable[[bytes, int], bytes]) -> str:
    """The same file of an ECDSA key with other bytes for r and s; given are r as it stands there, and s."""
    blob = dearmor(signature)
    inner = blob.rindex(string(SK_ECDSA.encode()))
    at = inner + len(string(SK_ECDSA.encode())) + 4
    r_size, tail = struct.unpack_from(">I", blob, at)[0], blob[-5:]
    found = numbers(blob[at : at + 4 + r_size], int.from_bytes(blob[at + 8 + r_size : -5], "big"))
    return armor(blob[: inner - 4] + string(string(SK_ECDSA.encode()) + string(found) + tail))


def test_numbers_have_one_encoding() -> None:
    """A zero before a number that needs none is refused; ssh-keygen skips it."""
    key = KEYS[SK_ECDSA]
    signature = key.sign(MESSAGE, NAMESPACE)
    longer = with_numbers(signature, lambda r, s: r + string(b"\0" + mpint(s)[4:]))

    assert with_numbers(signature, lambda r, s: r + mpint(s)) == signature
    assert refused(longer) == "SSHSIG_FORMAT"


def test_both_signatures_of_ecdsa_count() -> None:
    """ECDSA's s and -s are both signatures, here as for ssh-keygen: FIDO2 keys give either."""
    key = KEYS[SK_ECDSA]
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signature = key.sign(MESSAGE, NAMESPACE)
    other = with_numbers(signature, lambda r, s: r + mpint(order - s))

    assert other != signature
    assert openssh.verifies(key.line, MESSAGE, other, NAMESPACE)
    assert sshsig.verify(other, MESSAGE, NAMESPACE).key.fingerprint == key.fingerprint


@pytest.mark.parametrize("flags", [0x00, 0x01, 0x04, 0x05, 0x0D, 0x1D, 0xC5])
@pytest.mark.parametrize("type_", SK_TYPES)
def test_flags_are_handed_out_and_not_judged(type_: str, flags: int) -> None:
    """As ssh-keygen does, which is why approval.py must: flags 0 verify."""
    key = KEYS[type_]
    signature = key.sign(MESSAGE, NAMESPACE, flags=flags)

    assert openssh.verifies(key.line, MESSAGE, signature, NAMESPACE)
    assert sshsig.verify(signature, MESSAGE, NAMESPACE).flags == flags


def test_flags_cannot_be_rewritten() -> None:
    """Flags and counter are under the signature."""
    blob = dearmor(KEYS[SK_ED25519].sign(MESSAGE, NAMESPACE, flags=0))

    assert refused(armor(blob[:-5] + b"\x05" + blob[-4:])) == "SSHSIG_SIGNATURE"
    assert refused(armor(blob[:-4] + b"\0\0\0\x63")) == "SSHSIG_SIGNATURE"


def browser_signature(shown: bytes, *, origin: str = ORIGIN, flags: int = 5, extensions: bytes = b"") -> str:
    """A browser's signature over this JSON, well made otherwise."""
    key = KEYS["browser"]
    whole = dearmor(key.sign(MESSAGE, NAMESPACE))
    outer = whole[: whole.index(b"sha512") + 6]
    application = hashlib.sha256(key.application.encode()).digest()
    digest = hashlib.sha256(shown).digest()
    said = struct.pack(">BI", flags, 9)
    raw = key.raw(application + said + extensions + digest)
    parts = string(origin.encode()) + string(shown) + string(extensions)
    inner = string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com") + string(raw) + said + parts
    return armor(outer + string(inner))


def challenge() -> bytes:
    """What a browser is asked to sign."""
    middle = string(NAMESPACE.encode()) + string(b"") + string(b"sha512")
    return b"SSHSIG" + middle + string(hashlib.sha512(MESSAGE).digest())


def test_browser_signatures() -> None:
    """The JSON must say what was asked, from the page it names, in no other site's frame."""
    good = browser_json(challenge(), ORIGIN)
    line = KEYS["browser"].line

    assert sshsig.verify(browser_signature(good), MESSAGE, NAMESPACE).counter == 9
    assert openssh.verifies(line, MESSAGE, browser_signature(good), NAMESPACE)
    extended = browser_signature(good, flags=0x85, extensions=b"\xa0")
    assert sshsig.verify(extended, MESSAGE, NAMESPACE).flags == 0x85
    assert openssh.verifies(line, MESSAGE, extended, NAMESPACE)
    for wrong in (
        browser_signature(browser_json(challenge() + b"x", ORIGIN)),
        browser_signature(browser_json(challenge(), "https://evil.example")),
        browser_signature(browser_json(challenge(), ORIGIN, cross_origin=True)),
        browser_signature(good.replace(b"webauthn.get", b"webauthn.create")),
        browser_signature(good[:-1]),
        browser_signature(good, origin='a"b'),
        browser_signature(good, flags=0x45),
        browser_signature(good, flags=0x85),
        browser_signature(good, extensions=b"\xa0"),
    ):
        assert refused(wrong) in ("SSHSIG_SIGNATURE", "SSHSIG_FORMAT")


def wrong_keys() -> dict[str, str]:
    """Lines that are no public key of a person."""
    key = KEYS[SK_ED25519]
    identity = string(ED25519.encode()) + string(b"\x01" + bytes(31))  # neutral element: anybody signs under it
    large = string(ED25519.encode()) + string(b"\xff" * 31 + b"\x7f")
    off_curve = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\x04" + bytes(63) + b"\x01")
    compressed = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\x02" + bytes(32))
    numbers = KEYS[RSA].private.public_key().public_numbers()
    exponent = string(RSA.encode()) + mpint(3) + mpint(numbers.n)

    def line(type_: str, blob: bytes) -> str:
        return f"{type_} {base64.b64encode(blob).decode()}"

    return {
        "empty": "",
        "one word": key.type,
        "options": "no-pty " + key.line,
        "another type": key.line.replace(SK_ED25519, ED25519, 1),
        "two spaces": key.line.replace(" ", "  "),
        "two lines": key.line + "\n" + key.line,
        "tab": key.line + "\tcomment",
        "not base64": key.line + "*",
        "tail": line(key.type, key.blob + b"\0"),
        "short": line(key.type, key.blob[:-1]),
        "certificate": line("ssh-ed25519-cert-v01@openssh.com", string(b"ssh-ed25519-cert-v01@openssh.com")),
        "DSA": line("ssh-dss", string(b"ssh-dss")),
        "small order": line(ED25519, identity),
        "not reduced": line(ED25519, large),
        "off the curve": line("ecdsa-sha2-nistp256", off_curve),
        "compressed": line("ecdsa-sha2-nistp256", compressed),
        "exponent 3": line(RSA, exponent),
        "long": key.line + " " + "x" * (8 << 10),
    }


@pytest.mark.parametrize("name", wrong_keys())
def test_wrong_keys(name: str) -> None:
    """One line, one key, of an accepted type, in its one encoding."""
    with pytest.raises(Invalid) as caught:
        sshsig.parse_public_key(wrong_keys()[name])

    assert caught.value.reason in ("SSHSIG_KEY", "SSHSIG_FORMAT")


# Every spelling of the eight points under which anybody signs, and of their y without its reduction: little endian.
SMALL_ORDER = [
    bytes(32),  # order 4
    b"\x01" + bytes(31),  # the neutral element
    b"\xec" + b"\xff" * 30 + b"\x7f",  # order 2
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),  # order 8
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 30 + b"\x7f",
]


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("point", SMALL_ORDER)
def test_keys_under_which_anybody_signs_are_none(point: bytes, sign: int) -> None:
    """All points of small order, in all their spellings, for keys in files and in authenticators."""
    for type_, end in ((ED25519, b""), (SK_ED25519, string(b"ssh:sealpress"))):
        blob = string(type_.encode()) + string(point[:31] + bytes([point[31] | sign])) + end
        with pytest.raises(Invalid) as caught:
            sshsig.parse_public_key(f"{type_} {base64.b64encode(blob).decode()}")
        assert (caught.value.reason, caught.value.message) == ("SSHSIG_KEY", "not an Ed25519 key")


def test_a_key_in_a_file_may_end_its_line() -> None:
    """As a .pub file does."""
    assert sshsig.parse_public_key(KEYS[ED25519].line + " x y\n").type == ED25519


SIGNATURES = {(name, flags): KEYS[name].sign(MESSAGE, NAMESPACE, flags=flags) for name in KEYS for flags in (0, 1, 5)}


@settings(max_examples=60, deadline=None)
@given(
    made=st.sampled_from(sorted(SIGNATURES)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), max_size=2),
    text_edit=st.none() | st.tuples(st.floats(0, 1), st.sampled_from(["", "\n", "=", "A", "\r"])),
    message=st.sampled_from([MESSAGE, MESSAGE, b""]),
)
def test_never_more_than_ssh_keygen(
    made: tuple[str, int], edits: list[tuple[float, int, bytes]], text_edit: tuple[float, str] | None, message: bytes
) -> None:
    """Whatever is done to a signature file: what we accept, ssh-keygen accepts."""
    blob = bytearray(dearmor(SIGNATURES[made]))
    for where, cut, put in edits:
        at = int(where * (len(blob) - 1))
        blob[at : at + cut] = put
    text = armor(bytes(blob))
    if text_edit is not None:
        at = int(text_edit[0] * (len(text) - 1))
        text = text[:at] + text_edit[1] + text[at + 1 :]

    try:
        sshsig.verify(text, message, NAMESPACE)
    except Invalid as error:
        assert error.reason.startswith("SSHSIG_")
    else:
        assert openssh.verifies(KEYS[made[0]].line, message, text, NAMESPACE)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=300).map(armor)))
def test_noise_is_refused(text: str) -> None:
    """Never another error."""
    assert refused(text).startswith("SSHSIG_")
