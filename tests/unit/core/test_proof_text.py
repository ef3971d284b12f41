"""Is there exactly one spelling of a proof, and is every other one refused?"""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealpress.core import leaf, merkle, proof, reference
from sealpress.core.proof import NoteLine
from sealpress.core.reference import ReferenceTree
from sealpress.errors import CoreError

ROOT = hashlib.sha256(b"root").digest()
OPENING = bytes(range(61))
HASHES = b"".join(hashlib.sha256(b"hash %d" % i).digest() for i in range(3))
ORIGIN = "sign.example/a/1"


def b64(data: bytes) -> bytes:
    """Standard base64."""
    return base64.b64encode(data)


HASH_LINES = b"".join(b64(hash_) + b"\n" for hash_ in reference.split(HASHES))


def signature_line(name: str = ORIGIN, data: bytes = bytes(68)) -> bytes:
    """One line of a note."""
    return f"— {name} ".encode() + b64(data) + b"\n"


def checkpoint(*lines: bytes, origin: bytes = ORIGIN.encode(), size: bytes = b"77", root: bytes = b64(ROOT)) -> bytes:
    """A note, by default with one line."""
    return b"\n".join([origin, size, root, b"", b""]) + b"".join(lines or [signature_line()])


NOTE = checkpoint(signature_line(), signature_line("sign.example/a/line", b"\1\2\3\4" + bytes(8) + b"sig"))


def text(
    *,
    magic: bytes = b"c2sp.org/tlog-proof@v1",
    extra: bytes = b"extra " + b64(OPENING),
    index: bytes = b"index 5",
    hashes: bytes = HASH_LINES,
    note: bytes = NOTE,
) -> bytes:
    """A proof from its parts."""
    return b"\n".join([magic, extra, index, hashes + b"\n" + note])


def refused(data: bytes) -> bool:
    """Whether both parsers refuse it, and C with SP_E_ENCODING."""
    with pytest.raises(ValueError):
        reference.parse_proof(data)
    with pytest.raises(CoreError) as caught:
        proof.parse_proof(data)
    return bool(caught.value.name == "SP_E_ENCODING")


def test_round_trip() -> None:
    """What is written is parsed to the same parts, and written again to the same bytes."""
    written = proof.write_proof(OPENING, 5, HASHES, NOTE)
    parsed = proof.parse_proof(written)

    assert written == text() == reference.write_proof(OPENING, 5, HASHES, NOTE)
    assert (parsed.opening, parsed.index, parsed.hashes, parsed.checkpoint) == (OPENING, 5, HASHES, NOTE)
    assert parsed.note == proof.parse_note(NOTE) == reference.parse_note(NOTE)
    assert parsed.note.text == b"sign.example/a/1\n77\n" + b64(ROOT) + b"\n"
    assert (parsed.note.origin, parsed.note.size, parsed.note.root) == (ORIGIN, 77, ROOT)
    assert parsed.note.lines[1] == NoteLine("sign.example/a/line", b"\1\2\3\4", bytes(8) + b"sig")


@pytest.mark.parametrize("index", [0, 9, 10, 1 << 32, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("count", [0, 1, 62, 63])
def test_round_trip_at_the_borders(index: int, count: int) -> None:
    """Every index of 64 bits and every path of up to 63 hashes has a text."""
    hashes = HASHES[:32] * count
    written = proof.write_proof(OPENING, index, hashes, NOTE)

    assert written == reference.write_proof(OPENING, index, hashes, NOTE)
    assert (proof.parse_proof(written).index, proof.parse_proof(written).hashes) == (index, hashes)


def test_up_to_sixteen_lines() -> None:
    """A note may carry 16 signature lines, in any order, of any length from one byte on."""
    lines = [signature_line(f"witness.example/{i}", bytes(5 + i)) for i in range(16)]
    note = checkpoint(*lines)

    assert [len(line.signature) for line in proof.parse_note(note).lines] == list(range(1, 17))
    assert proof.parse_proof(text(note=note)).note == reference.parse_note(note)


def bad_base64(good: bytes) -> list[bytes]:
    """Other spellings of the same or nearly the same bytes."""
    symbols = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = good.rstrip(b"=")
    padding = good[len(body) :]
    last = bytes([symbols[symbols.index(body[-1]) ^ 1]])
    return [
        body,
        good + b"=",
        body[:-1] + last + padding if padding else body + b"=",
        good.replace(good[:1], b"-", 1),
        b"_" + good[1:],
        b" " + good,
        good + b" ",
        good[:4] + b"\r" + good[4:],
        good[:4] + b"====" + good[4:],
        b"=" + good[1:],
        good[:-1],
        good + b"AAAA",
        b"",
    ]


@pytest.mark.parametrize("bad", bad_base64(b64(ROOT)))
def test_refuses_base64_that_is_not_canonical(bad: bytes) -> None:
    """Padding, stray bits, white space, URL letters and other lengths: in hash, opening and root, each is refused."""
    assert refused(text(hashes=bad + b"\n"))
    assert refused(text(note=checkpoint(root=bad)))


@pytest.mark.parametrize("bad", bad_base64(b64(OPENING)))
def test_refuses_an_opening_that_is_not_canonical(bad: bytes) -> None:
    """The same for the extra line, which holds exactly 61 bytes."""
    assert refused(text(extra=b"extra " + bad))


@pytest.mark.parametrize("bad", [bad for bad in bad_base64(b64(bytes(70))) if not bad.endswith(b"AAAA")])
def test_refuses_a_signature_that_is_not_canonical(bad: bytes) -> None:
    """The same for signature lines, whose length is free."""
    assert refused(text(note=checkpoint(f"— {ORIGIN} ".encode() + bad + b"\n")))


def test_every_stray_bit_is_refused() -> None:
    """The last symbol of each base64 field has exactly one value."""
    symbols = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    good = b64(ROOT).decode()
    accepted = [symbol for symbol in symbols if not is_refused(text(hashes=f"{good[:-2]}{symbol}=\n".encode()))]

    assert len(accepted) == 16 and good[-2] in accepted
    for symbol in accepted:
        assert proof.parse_proof(text(hashes=f"{good[:-2]}{symbol}=\n".encode())).hashes[:31] == ROOT[:31]


def is_refused(data: bytes) -> bool:
    """By C alone."""
    try:
        proof.parse_proof(data)
    except CoreError:
        return True
    return False


@pytest.mark.parametrize(
    "decimal", [b"", b"00", b"05", b"+5", b"-5", b" 5", b"5 ", b"5\r", b"0x5", b"5.0", b"1_0", "٥".encode(),
                b"18446744073709551616", b"99999999999999999999", b"100000000000000000000", b"\x00"],
)  # fmt: skip
def test_refuses_decimals_with_another_spelling(decimal: bytes) -> None:
    """No sign, no leading zero, no space, no other digits, no more than 64 bits: in index and size."""
    assert refused(text(index=b"index " + decimal))
    assert refused(text(note=checkpoint(size=decimal)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(text()[:-1], id="last newline missing"),
        pytest.param(text() + b"\n", id="newline at the end"),
        pytest.param(text() + b"x", id="trailing byte"),
        pytest.param(text() + b"\x00", id="trailing zero"),
        pytest.param(text().replace(b"\n", b"\r\n"), id="CR LF everywhere"),
        pytest.param(text(magic=b"c2sp.org/tlog-proof@v1\r"), id="CR in the first line"),
        pytest.param(text(magic=b"c2sp.org/tlog-proof@v2"), id="another version"),
        pytest.param(text(magic=b"\xef\xbb\xbfc2sp.org/tlog-proof@v1"), id="byte order mark"),
        pytest.param(b"\n" + text(), id="newline at the start"),
        pytest.param(text().replace(b"extra " + b64(OPENING) + b"\n", b""), id="no opening"),
        pytest.param(text(extra=b"extra  " + b64(OPENING)), id="two spaces"),
        pytest.param(text(extra=b"Extra " + b64(OPENING)), id="capital"),
        pytest.param(text(extra=b"extra " + b64(OPENING[:60])), id="opening too short"),
        pytest.param(text(extra=b"extra " + b64(OPENING + b"x")), id="opening too long"),
        pytest.param(text(index=b"index  5"), id="two spaces before the index"),
        pytest.param(text(index=b"index5"), id="no space before the index"),
        pytest.param(text(hashes=b64(ROOT[:31]) + b"\n"), id="hash of 31 bytes"),
        pytest.param(text(hashes=b64(ROOT + b"x") + b"\n"), id="hash of 33 bytes"),
        pytest.param(text(hashes=b64(ROOT) + b"\n\n"), id="two blank lines"),
        pytest.param(text(hashes=(b64(ROOT) + b"\n") * 64), id="64 hashes"),
        pytest.param(text(note=b""), id="no checkpoint"),
        pytest.param(text(note=checkpoint(*[signature_line()] * 17)), id="17 lines"),
        pytest.param(text(note=NOTE[: NOTE.index(b"\n\n") + 2]), id="no signature line"),
        pytest.param(text(note=NOTE.replace(b"\n\n", b"\n")), id="no blank line in the note"),
        pytest.param(text(note=NOTE.replace(b"\n\n", b"\nextension\n\n")), id="extension line"),
        pytest.param(text(note=NOTE.replace(b"\n\n", b"\n\n\n")), id="two blank lines in the note"),
        pytest.param(text(note=checkpoint(origin=b"")), id="origin empty"),
        pytest.param(text(note=checkpoint(origin=b"a\x00b")), id="zero in the origin"),
        pytest.param(text(note=checkpoint(origin=b"a\tb")), id="tab in the origin"),
        pytest.param(text(note=checkpoint(origin=b"a\x7fb")), id="DEL in the origin"),
        pytest.param(text(note=checkpoint(origin=b"a\r")), id="CR after the origin"),
        pytest.param(text(note=checkpoint(origin=b"\xff")), id="not UTF-8"),
        pytest.param(text(note=checkpoint(origin=b"\xc0\x80")), id="overlong UTF-8"),
        pytest.param(text(note=checkpoint(origin=b"\xe0\x80\x80")), id="overlong UTF-8 of three bytes"),
        pytest.param(text(note=checkpoint(origin=b"\xed\xa0\x80")), id="surrogate"),
        pytest.param(text(note=checkpoint(origin=b"\xf4\x90\x80\x80")), id="beyond Unicode"),
        pytest.param(text(note=checkpoint(origin=b"a\xe2\x80")), id="cut UTF-8"),
        pytest.param(text(note=checkpoint(signature_line(""))), id="name empty"),
        pytest.param(text(note=checkpoint(signature_line("a b"))), id="space in a name"),
        pytest.param(text(note=checkpoint(signature_line("a\u00a0b"))), id="no-break space in a name"),
        pytest.param(text(note=checkpoint(signature_line("a\u2028b"))), id="line separator in a name"),
        pytest.param(text(note=checkpoint(signature_line("a\u3000b"))), id="wide space in a name"),
        pytest.param(text(note=checkpoint(signature_line("a+b"))), id="plus in a name"),
        pytest.param(text(note=checkpoint(signature_line("a\x1bb"))), id="escape in a name"),
        pytest.param(text(note=checkpoint(signature_line(data=bytes(4)))), id="key id without signature"),
        pytest.param(text(note=checkpoint(signature_line(data=b""))), id="empty signature"),
        pytest.param(text(note=checkpoint(signature_line().replace("—".encode(), b"-"))), id="hyphen for the dash"),
        pytest.param(text(note=checkpoint(b" " + signature_line())), id="space before the dash"),
        pytest.param(text(note=checkpoint(signature_line()[:-1] + b" x\n")), id="word after the signature"),
        pytest.param(text(note=checkpoint(signature_line(), b"\n", signature_line())), id="blank among the lines"),
        pytest.param(text(note=checkpoint(*[signature_line(data=bytes(12000))] * 5)), id="more than 64 KiB"),
    ],
)
def test_refuses(data: bytes) -> None:
    """Each of these differs from the one spelling in one way."""
    assert refused(data)


def test_names_may_be_any_other_unicode() -> None:
    """Only spaces, plus and control characters are excluded from names, spaces not from the origin."""
    note = checkpoint(signature_line("grün.example/✓𝄞"), origin="go.sum database tree ü".encode())

    assert proof.parse_note(note) == reference.parse_note(note)
    assert proof.parse_note(note).lines[0].name == "grün.example/✓𝄞"


def test_the_writer_refuses_what_the_parser_would() -> None:
    """A path of 64 hashes, a text beyond 64 KiB, an opening of another length, a checkpoint that is none."""
    for arguments, name in [
        ((OPENING, 0, bytes(64 * 32), NOTE), "SP_E_BOUNDS"),
        ((OPENING, 0, bytes(33), NOTE), "SP_E_BOUNDS"),
        ((OPENING[:60], 0, b"", NOTE), "SP_E_BOUNDS"),
        ((OPENING, 0, b"", NOTE[:-1]), "SP_E_ENCODING"),
        ((OPENING, 0, b"", b""), "SP_E_ENCODING"),
        ((OPENING, 0, bytes(63 * 32), checkpoint(*[signature_line(data=bytes(12000))] * 4)), "SP_E_BOUNDS"),
    ]:
        with pytest.raises(CoreError) as caught:
            proof.write_proof(*arguments)
        assert caught.value.name == name


@pytest.mark.parametrize(
    ("first", "count", "size"), [(0, 1, 1), (0, 7, 7), (5, 300, 700), (513, 600, 1113), (99, 1, 257)]
)
def test_a_range_is_written_as_each_of_its_proofs(first: int, count: int, size: int) -> None:
    """The texts of a range are byte for byte what writing each proof singly gives."""
    leaves = [hashlib.sha256(b"%d" % i).digest() for i in range(size)]
    tree, seed = ReferenceTree(leaves), hashlib.sha256(b"seed").digest()
    left, right = tree.range(first, count, size)
    range_ = merkle.Range(b"".join(leaves[first : first + count]), first, size, left, right, tree.root(size))
    expected = [
        proof.write_proof(OPENING[:45] + leaf.salts(seed, i, 1), first + i, tree.inclusion(first + i, size), NOTE)
        for i in range(count)
    ]

    assert proof.write_proofs(range_, OPENING[:45], seed, NOTE) == expected


def test_a_range_refuses_bad_parts() -> None:
    """Opening, seed and checkpoint are checked before anything is written."""
    range_ = merkle.Range(bytes(32), 0, 1, b"", b"", bytes(32))
    for arguments in [
        (OPENING[:44], bytes(32), NOTE),
        (OPENING[:45], bytes(31), NOTE),
        (OPENING[:45], bytes(32), b"x"),
    ]:
        with pytest.raises(CoreError):
            proof.write_proofs(range_, *arguments)


def parsed_by(parse: object, data: bytes) -> object:
    """What a parser says: its value, or None for a refusal."""
    try:
        return parse(data)  # type: ignore[operator]
    except (CoreError, ValueError):
        return None


@settings(max_examples=2000, deadline=None)
@given(st.integers(0, 1 << 64), st.sampled_from(["flip", "drop", "double", "insert", "swap", "cut"]))
def test_what_parses_has_one_spelling(seed: int, change: str) -> None:
    """After any small change, C and reference agree, and what still parses is written back to the same bytes."""
    source, data = random.Random(seed), bytearray(text())
    at = source.randrange(len(data))
    piece = source.choice([b"\n", b"\r", b" ", b"=", b"0", b"A", b"+", b"\x00", b"\xe2", "—".encode(), b"\n\n"])
    if change == "flip":
        data[at] ^= 1 << source.randrange(8)
    if change == "drop":
        del data[at : at + source.randint(1, 3)]
    if change == "double":
        data[at:at] = data[at : at + source.randint(1, 60)]
    if change == "insert":
        data[at:at] = piece
    if change == "swap":
        data[at : at + len(piece)] = piece
    if change == "cut":
        del data[at:]
    parsed = parsed_by(proof.parse_proof, bytes(data))

    assert parsed == parsed_by(reference.parse_proof, bytes(data))
    if isinstance(parsed, proof.Proof):
        assert proof.write_proof(parsed.opening, parsed.index, parsed.hashes, parsed.checkpoint) == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_one_spelling(data: bytes) -> None:
    """Garbage, also behind a good beginning, never crashes."""
    for candidate in (data, text()[:40] + data, text(note=data), NOTE + data):
        assert parsed_by(proof.parse_proof, candidate) == parsed_by(reference.parse_proof, candidate)
        assert parsed_by(proof.parse_note, candidate) == parsed_by(reference.parse_note, candidate)
