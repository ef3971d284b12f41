"""Does stock OpenSSH make and use the laboratory's security keys, and do they say what they are told to say?"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from kit import openssh
from kit.approving import NOW, ROOT, Person, asking, make_change
from kit.openssh import KeyFile
from kit.softkeys import SK_ECDSA, SK_ED25519
from sealpress.errors import CannotStart, Invalid
from sealpress.verify import approval, sshsig
from sealpress.verify.approval import Enrolment
from sealpress.verify.statement import NAMESPACE, render
from sealpress.wiring.lab import COUNTER, FLAGS, SOURCE, build_provider

APPLICATION = "ssh:sealpress"
TYPES = {"ed25519-sk": SK_ED25519, "ecdsa-sk": SK_ECDSA}
COUNTS = {"ssh": {0, 1, 4, 5, 0x0D, 0x15, 0x1D}, "sk": {1, 5}, "sk+uv": {5}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the library and the keys."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def keys(place: Path) -> dict[str, KeyFile]:
    """A key of each type, made by ssh-keygen."""
    provider = build_provider(place)
    return {type_: KeyFile(place, type_, "-O", f"application={APPLICATION}", provider=provider) for type_ in TYPES}


@pytest.mark.parametrize("type_", TYPES)
def test_ssh_keygen_makes_and_uses_them(keys: dict[str, KeyFile], type_: str) -> None:
    """A key from `ssh-keygen -t`, a signature from `-Y sign`: good for `-Y verify` and for us."""
    key = keys[type_]
    signature = key.sign(b"text", "file", **{COUNTER: "7"})
    signed = sshsig.verify(signature, b"text", "file")

    assert openssh.verifies(key.line, b"text", signature, "file")
    assert signed.key == sshsig.parse_public_key(key.line)
    assert (signed.key.type, signed.key.application) == (TYPES[type_], APPLICATION)
    assert (signed.flags, signed.counter) == (5, 7)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("flags", sorted(COUNTS["ssh"]))
def test_flags_of_real_openssh(keys: dict[str, KeyFile], type_: str, flags: int) -> None:
    """ssh-keygen finds every approval good, whatever its flags; we count those that the level allows."""
    key = keys[type_]
    public = sshsig.parse_public_key(key.line)
    enrolment = Enrolment("person:alice", public, APPLICATION, NOW, 0)
    for credential, allowed in COUNTS.items():
        change = asking(make_change(), credential)
        statement = render(Person().statement(change))
        signature = key.sign(statement, NAMESPACE, **{FLAGS: f"{flags:#04x}"})

        assert openssh.verifies(key.line, statement, signature, NAMESPACE, "person:alice")
        try:
            counted = approval.check(
                change, statement, signature, lambda _: enrolment, NOW, lambda size, root: (size, root) == (17, ROOT)
            )
        except Invalid as error:
            assert (flags in allowed, error.reason) == (False, "APPROVAL_FLAGS")
        else:
            assert (counted.flags, flags in allowed) == (flags, True)


def test_keys_that_ask_for_a_pin(place: Path) -> None:
    """`-O verify-required`, as real approvers make them."""
    provider = build_provider(place)
    options = ("-O", f"application={APPLICATION}", "-O", "verify-required")
    key = KeyFile(place, "ed25519-sk", *options, provider=provider)

    assert sshsig.verify(key.sign(b"text", "file"), b"text", "file").flags == 5


def test_it_says_what_it_is(keys: dict[str, KeyFile]) -> None:
    """Nobody can take it for a security key by mistake."""
    key = keys["ed25519-sk"]
    message = key.path.with_suffix(".loud")
    message.write_text("text")
    code, said = openssh.keygen("-Y", "sign", "-n", "file", "-f", key.path, message, env=key.env)

    assert code == 0
    assert "LABORATORY USE ONLY" in said
    assert SOURCE.read_text().startswith("/* FOR LABORATORY USE ONLY")


def test_what_it_does_not_do(keys: dict[str, KeyFile], place: Path) -> None:
    """No signature without the library; it refuses other handles and types, and has no resident keys."""
    key = keys["ed25519-sk"]
    (place / "message").write_text("text")
    arguments = ("-Y", "sign", "-n", "file", "-f", key.path, place / "message")
    library = ctypes.CDLL(str(build_provider(place)))
    answer = ctypes.c_void_p()

    def sign(type_: int, handle: bytes) -> int:
        size = ctypes.c_size_t
        more = (handle, size(len(handle)), 0, None, None, ctypes.byref(answer))
        return int(library.sk_sign(type_, b"text", size(4), b"ssh:", *more))

    assert openssh.keygen(*arguments, env={"SSH_SK_PROVIDER": str(place / "absent.so")})[0] != 0
    assert not (place / "message.sig").exists()
    magic = b"sealpress/lab/sk"
    assert [sign(1, handle) for handle in (b"", magic, b"x" * 64, magic + b"x" * 48, magic + bytes(200))] == [-1] * 5
    assert (sign(2, magic + bytes(48)), library.sk_load_resident_keys(None, None, None, None)) == (-2, -2)
    assert answer.value is None


def test_it_is_built_once_and_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call compiles nothing; no compiler is CannotStart with a hint."""
    built = build_provider(tmp_path)
    strict = ["-std=gnu11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *strict, str(SOURCE)], check=True)
    monkeypatch.setenv("CC", str(tmp_path / "absent"))

    assert build_provider(tmp_path) == built
    built.unlink()
    with pytest.raises(CannotStart, match="absent"):
        build_provider(tmp_path)
    monkeypatch.setenv("CC", "false")
    with pytest.raises(CannotStart, match="does not build"):
        build_provider(tmp_path)
    assert list(tmp_path.iterdir()) == []
