"""Is one who verifies many files told of each in time, and of all in the end?"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from kit.fabricate import TIME, World
from sealpress.cli import verify
from sealpress.cli.app import build

GOOD = {"path": "a", "format": "ecdsa-der"}
BAD = {"path": "b", "error": {"reason": "NO_ANSWER", "message": "there is none", "hint": ""}}


def test_a_file_is_told_before_the_next_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 files take half a minute: one sees how they go, and no result waits in memory for the last."""
    told: list[str] = []
    monkeypatch.setattr(verify, "say", told.append)

    def judged() -> Iterator[dict[str, Any]]:
        for number, result in enumerate((GOOD, BAD, GOOD)):
            assert len(told) == number
            yield result

    assert verify._tell(judged()) == 1
    assert [line.partition(" ")[0] for line in told] == ["ok", "FAILED", "ok", "2"]
    assert told[-1] == "2 verified, 1 failed"


GOOD_TREE = {"in/lib/a": "a", "in/b": "b"}


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A policy, beside a folder `in` of files that are signed, and a folder `out` of one that is not."""
    world = World.make()
    (tmp_path / "trust.policy").write_text(world.policy)
    for name, content in (GOOD_TREE | {"out/c": "c"}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if name in GOOD_TREE:
            proof = world.prove(hashlib.sha256(content.encode()).digest())
            path.with_name(f"{path.name}.tlog-proof").write_bytes(proof.write())
    return tmp_path


def test_a_person_is_told_what_to_do(signed: Path) -> None:
    """Not only what does not hold: a proof of another line or file looks like a file that was changed."""
    (signed / "in" / "b").write_text("other")
    told = judged("--trust", signed / "trust.policy", signed / "in", signed / "out", code=1)
    changed, unsigned = [line for line in told.splitlines() if line.startswith("FAILED")]

    assert changed.endswith("(the file changed, or the proof belongs to another file, line or log)")
    assert unsigned.endswith("c.tlog-proof: No such file or directory (sign it, or give the --output of that)")


@pytest.mark.parametrize("name", ["link", "link.sig"])
def test_a_folder_does_not_verify_with_what_is_behind_a_link(signed: Path, name: str) -> None:
    """A link to a folder elsewhere is not followed, so what one reaches by it is not verified: said, and exit 1."""
    (signed / "in" / name).symlink_to("../out")
    told = judged("--trust", signed / "trust.policy", signed / "in", code=1)

    (failed,) = [line for line in told.splitlines() if line.startswith("FAILED")]
    assert failed.startswith(f"FAILED  {signed}/in/{name}: ") and "give it as a PATH" in failed


def test_a_link_to_what_is_verified_anyhow_is_good(signed: Path) -> None:
    """`lib64` beside `lib`, or a folder that is given, too: each file is looked at once, by its own name."""
    (signed / "in" / "lib64").symlink_to("lib")
    (signed / "in" / "lib" / "up").symlink_to(signed / "in")
    assert judged("--trust", signed / "trust.policy", signed / "in", code=0).splitlines()[-1] == "2 verified, 0 failed"

    (signed / "in" / "out").symlink_to("../out")
    (signed / "out" / "c").unlink()
    assert judged("--trust", signed / "trust.policy", signed / "in", signed / "out", code=0)


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """A policy that trusts some line."""
    path = tmp_path / "trust.policy"
    path.write_text(World.make().policy)
    return path


def judged(*arguments: str | Path, code: int = 1) -> str:
    """What `sealpress verify` prints."""
    done = CliRunner().invoke(build("verify"), ["verify", *map(str, arguments)])
    assert (done.exit_code, type(done.exception)) == (code, SystemExit if code else type(None))
    return done.stdout


def test_a_name_says_nothing_but_itself(trust: Path, tmp_path: Path) -> None:
    """Who names the files of a folder does not write the verdicts: each file has one line, however it is called."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a\nok      release.bin: a line leaf 3\x1b[2K").touch()
    told = judged("--trust", trust, folder)

    assert [line.partition(" ")[0] for line in told.splitlines()] == ["FAILED", "0"]
    assert "\x1b" not in told


def test_a_name_that_is_no_text_costs_no_verdict(trust: Path, tmp_path: Path) -> None:
    """The document has every file, also one without an answer whose name is other bytes than UTF-8."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"good", b"odd\xff"):
        (folder / os.fsdecode(name)).touch()
    found = json.loads(judged("--trust", trust, "--json", folder))["files"]

    assert [(one["path"][-4:], one["error"]["reason"]) for one in found] == [
        ("good", "NO_ANSWER"), (r"\xff", "NO_ANSWER")
    ]  # fmt: skip
    assert found[1]["error"]["message"].startswith(rf"{folder}/odd\xff.tlog-proof: ")


def test_an_answer_that_never_comes_is_not_waited_for(trust: Path, tmp_path: Path) -> None:
    """A fifo in the place of a proof, as an archive can bring one, holds up nothing: the file has no answer."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "file.tlog-proof")

    assert "NO_ANSWER" in judged("--trust", trust, tmp_path / "file")


def test_a_time_of_no_calendar_costs_no_verdict(tmp_path: Path) -> None:
    """A line's key states any time of 64 bits: the file has its verdict, and so have those after it."""
    world = World.make()
    (tmp_path / "trust.policy").write_text(world.policy)
    for name, time in (("a", (1 << 64) - 1), ("b", 1 << 40), ("c", TIME)):
        (tmp_path / name).write_text(name)
        proof = world.prove(hashlib.sha256(name.encode()).digest(), time=time)
        (tmp_path / f"{name}.tlog-proof").write_bytes(proof.write())
    told = judged("--trust", tmp_path / "trust.policy", *(tmp_path / name for name in "abc"), code=0)

    assert [line.rpartition(", ")[2] for line in told.splitlines()] == [
        "second 18446744073709551615 since 1970", "second 1099511627776 since 1970", "2025-11-23T12:13:20Z", "0 failed"
    ]  # fmt: skip


def reasons(*arguments: str | Path, code: int) -> list[str]:
    """Of each file, in order; nothing for one that verified."""
    found = json.loads(judged("--json", *arguments, code=code))
    return [found["error"]["reason"]] if "error" in found else [one.get("error", {}).get("reason", "")
                                                                for one in found["files"]]  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (f"not_after = {TIME}\nmin_security_version = 7\n[[void]]\nfirst = 0\nlast = 4", ""),
        (f"not_after = {TIME - 1}", "NOT_AFTER"),
        ("min_security_version = 8", "SECURITY_VERSION"),
        ("[[void]]\nfirst = 5\nlast = 5", "VOID"),
    ],
)
def test_limits_narrow_what_verifies(signed: Path, limits: str, reason: str) -> None:
    """Each of them ends with 1 and its reason for a proof that is good without; one that nobody can read, with 2."""
    (signed / "limits.toml").write_text(limits)
    trust = ("--trust", signed / "trust.policy")

    assert reasons(*trust, signed / "in" / "b", code=0) == [""]
    found = reasons(*trust, "--limits", signed / "limits.toml", signed / "in" / "b", code=1 if reason else 0)
    assert found == [reason]
    assert reasons(*trust, "--limits", signed / "none.toml", signed / "in" / "b", code=2) == ["CONFIG"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A public key, beside a file with its raw signature."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    (tmp_path / "raw").write_bytes(b"firmware")
    (tmp_path / "raw.sig").write_bytes(private.sign(b"firmware", ec.ECDSA(SHA256())))
    return tmp_path


def test_a_raw_signature_is_of_its_file_and_its_hash(raw: Path) -> None:
    """Of no other file, and with no other algorithm than the one that goes with the key or is named."""
    public = ("--public-key", raw / "public.pem")

    assert (
        reasons(*public, raw / "raw", code=0) == reasons(*public, "--algorithm", "sha256", raw / "raw", code=0) == [""]
    )
    assert reasons(*public, "--algorithm", "sha512", raw / "raw", code=1) == ["SIGNATURE"]
    (raw / "raw").write_bytes(b"firmware!")
    assert reasons(*public, raw / "raw", code=1) == ["SIGNATURE"]


def test_a_proof_and_a_raw_signature_never_stand_for_one_another(signed: Path, raw: Path) -> None:
    """With --trust a good signature is no answer, with --public-key no good proof is."""
    assert signed == raw
    trust, public = ("--trust", signed / "trust.policy"), ("--public-key", raw / "public.pem")

    assert reasons(*trust, signed / "in" / "b", code=0) == reasons(*public, raw / "raw", code=0) == [""]
    assert reasons(*trust, raw / "raw", code=1) == reasons(*public, signed / "in" / "b", code=1) == ["NO_ANSWER"]


def test_what_is_to_be_trusted_is_said_once(signed: Path, raw: Path) -> None:
    """Neither, both, or limits and algorithms that would be ignored: exit 2, and nothing is verified."""
    (signed / "limits.toml").write_text("")
    trust, public = ("--trust", signed / "trust.policy"), ("--public-key", raw / "public.pem")
    limits, algorithm = ("--limits", signed / "limits.toml"), ("--algorithm", "sha256")

    for how in ((), (*trust, *public), (*public, *limits), (*trust, *algorithm), limits, algorithm):
        assert reasons(*how, signed / "in" / "b", code=2) == ["USAGE"]
    assert reasons(*trust, code=2) == ["NO_FILE"]


def test_a_file_that_changed_does_not_verify(signed: Path) -> None:
    """Nor does one with another's proof, or with half of its own; its neighbour does."""
    proof = signed / "in" / "b.tlog-proof"
    good, other = proof.read_bytes(), (signed / "in" / "lib" / "a.tlog-proof").read_bytes()
    for content, text, reason in (("B", good, "INCLUSION"), ("b", other, "INCLUSION"), ("b", good[:-9], "ENCODING")):
        (signed / "in" / "b").write_text(content)
        proof.write_bytes(text)
        assert sorted(reasons("--trust", signed / "trust.policy", signed / "in", code=1)) == ["", reason]
