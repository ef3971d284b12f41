"""Do `sealpress sign` and `verify` treat each of many files as they should, also those that cannot be signed?"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kit.node import DIRECT, PROOF, Node
from sealpress.cli import sign
from sealpress.cli.app import build
from sealpress.values import DigestAlgorithm
from sealpress.verify.proof import verify_proof

DIRECT_P384 = DIRECT.replace("p256", "p384")
WRITER = """
import itertools, os, sys, time
for size in itertools.count(64 << 20):
    os.truncate(sys.argv[1], size)
    time.sleep(0.001)
"""
FILES = 1_500  # more than `verify` looks at in one go


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """One for all of them."""
    with Node() as running:
        yield running


def sealpress(node: Node, *arguments: str | Path, cwd: Path, code: int = 0) -> dict[str, Any]:
    """The document that a command prints."""
    environment = os.environ | {"SEALPRESS_CLIENT": str(node.directory / "client.toml")}
    command = [sys.executable, "-m", "sealpress", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of many small files in folders, and a name that is no UTF-8."""
    place = tmp_path_factory.mktemp("tree")
    for number in range(FILES - 1):
        folder = place / "in" / f"{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.bin").write_bytes(number.to_bytes(2) * number)
    (place / "in" / os.fsdecode(b"z\xff.bin")).write_bytes(b"odd")
    return place


def test_every_file_of_a_directory_is_signed_and_verifies(node: Node, tree: Path) -> None:
    """One act; a proof for each file in the same folder below --output; `verify` finds the one that changed."""
    told = sealpress(node, "sign", "--key", PROOF, "--output", "out", "in", cwd=tree)["files"]
    for one in told[1:]:
        digest = hashlib.sha256((tree / one["path"]).read_bytes()).digest()
        assert one["digest"] == f"sha256:{digest.hex()}"
        proof = (tree / one["written"]).read_bytes()
        assert verify_proof(node.trust(), DigestAlgorithm.SHA256, digest, proof).index == one["leaf_index"]
    assert told[0]["written"] == r"out/in/z\xff.bin.tlog-proof"
    assert len(told) == FILES
    assert len({one["event_id"] for one in told}) == 1

    (tree / "in" / "3" / "10.bin").write_bytes(b"changed")
    verdict = sealpress(node, "verify", "--trust", node.trust_file(), "--output", "out", "in", cwd=tree, code=1)
    assert (verdict["verified"], verdict["failed"]) == (FILES - 1, 1)
    assert [one["error"]["reason"] for one in verdict["files"] if "error" in one] == ["INCLUSION"]
    assert [one["path"] for one in verdict["files"]] == [one["path"] for one in told]


def test_the_line_says_with_what_to_hash(node: Node, tmp_path: Path) -> None:
    """A line whose digest is not SHA-256 gets its own, though hashing began before anybody knew; openssl agrees."""
    (tmp_path / "file").write_bytes(b"content" * 100_000)
    told = sealpress(node, "sign", "--key", DIRECT_P384, "file", cwd=tmp_path)["files"]
    key = node.public_key(DIRECT_P384)
    command = ["openssl", "dgst", "-sha384", "-verify", str(key), "-signature", "file.sig", "file"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert told[0]["digest"].startswith("sha384:")
    assert sealpress(node, "verify", "--public-key", key, "file", cwd=tmp_path)["verified"] == 1


def test_more_files_than_one_call_takes(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed part by part: each file has its own proof, files before digests, in the order given."""
    names = [f"{number:02}" for number in range(25)]
    for name in names:
        (tmp_path / name).write_text(name)
    listed = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  list/{name}\n" for name in names)
    (tmp_path / "SUMS").write_text(listed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sign, "BATCH_ITEMS", 7)
    arguments = ["sign", "--client", str(node.directory / "client.toml"), "--key", PROOF, "--output", "out", "--json"]
    done = CliRunner().invoke(build("sign"), [*arguments, "--digests-file", "SUMS", *names])
    told = json.loads(done.stdout)["files"]

    assert [one["path"] for one in told] == [*names, *(f"list/{name}" for name in names)]
    assert len({one["event_id"] for one in told}) == 8
    for one in told:
        digest = hashlib.sha256(one["path"][-2:].encode()).digest()
        verify_proof(node.trust(), DigestAlgorithm.SHA256, digest, Path(one["written"]).read_bytes())


def test_two_files_never_share_an_answer(node: Node, tmp_path: Path) -> None:
    """`x` and `../x` below one --output: refused before anything is signed, for one of them would have no proof."""
    (tmp_path / "in").mkdir()
    for path in (tmp_path / "x", tmp_path / "in" / "x"):
        path.write_text(str(path))
    command = ("sign", "--key", PROOF, "--output", "out", "x", "../x")
    refused = sealpress(node, *command, cwd=tmp_path / "in", code=2)["error"]

    assert refused["reason"] == "ANSWERS_MEET"
    assert not (tmp_path / "in" / "out").exists()


def test_a_list_that_names_a_file_twice(node: Node, tmp_path: Path) -> None:
    """With two digests: refused, for the first would be signed and its proof written over. With one: signed once."""
    (tmp_path / "x").write_bytes(b"")
    zero, one = (f"{str(digit) * 64}  x\n" for digit in range(2))
    command = ("sign", "--key", PROOF, "--digests-file", "SUMS")
    (tmp_path / "SUMS").write_text(zero + one)
    twice = sealpress(node, *command, cwd=tmp_path, code=2)["error"]
    (tmp_path / "SUMS").write_text(zero)
    beside = sealpress(node, *command, "x", cwd=tmp_path, code=2)["error"]
    assert {twice["reason"], beside["reason"]} == {"ANSWERS_MEET"}
    assert not list(tmp_path.glob("*.tlog-proof"))

    (tmp_path / "SUMS").write_text(zero + zero)
    assert len(sealpress(node, *command, cwd=tmp_path)["files"]) == 1


@pytest.mark.parametrize(("output", "name"), [("x/below", "x"), ("out", "n" * 245), (".", "n" * 245)])
def test_what_can_have_no_answer_is_not_signed(node: Node, tmp_path: Path, output: str, name: str) -> None:
    """No place for a proof shows before the leaf is made: a grant's use would be spent, and nobody have the proof."""
    for each in {"x", name}:
        (tmp_path / each).write_bytes(name.encode())
    before = _requests(node)
    refused = sealpress(node, "sign", "--key", PROOF, "--output", output, *{"x", name}, cwd=tmp_path, code=2)["error"]

    assert (refused["reason"], "--output" in refused["hint"]) == ("CONFIG", True)
    assert _requests(node) == before
    assert not list(tmp_path.rglob("*.tlog-proof"))


def _requests(node: Node) -> list[int]:
    with node.client() as client:
        return [event.seq for event in client.tail() if event.type == "request"]


def test_a_file_that_cannot_be_signed_says_why(node: Node, tmp_path: Path) -> None:
    """Missing, unreadable or still being written: a stable reason, a hint, exit 2, and no proof of anything."""
    missing = sealpress(node, "sign", "--key", PROOF, "missing", cwd=tmp_path, code=2)["error"]
    (tmp_path / "good").write_bytes(b"good")
    changing = tmp_path / "log"
    changing.touch()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(changing)])
    try:
        while changing.stat().st_size == 0:
            time.sleep(0.01)
        changed = sealpress(node, "sign", "--key", PROOF, "good", "log", cwd=tmp_path, code=2)["error"]
    finally:
        writer.kill()
        writer.wait()

    assert (missing["reason"], changed["reason"]) == ("CONFIG", "FILE_CHANGED")
    assert "nobody writes" in changed["hint"]
    assert not list(tmp_path.glob("*.tlog-proof"))
