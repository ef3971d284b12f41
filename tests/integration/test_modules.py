"""Does everything work unchanged with another maker's PKCS#11 module? Real modules, each with a token of its own.

Each module signs, is verified, refuses, comes back after kill -9 and is shown a wrong PIN, for every mechanism that it
lists, in proof and in direct mode. What came out is printed at the end of the run, also what a module does not list or
gets wrong. A module that this machine lacks is named there with what to install.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from independent.verifier import verify as independent_verify
from kit.matrix import Matrix
from kit.module_node import ModuleNode
from kit.modules import KINDS, MODULES, PIN, LineKind, Module
from sealpress.client import Client
from sealpress.errors import NotPermitted, SealpressError, Unavailable
from sealpress.values import DigestAlgorithm, Mode
from sealpress.verify.proof import verify_proof
from sealpress.wiring import dev

pytestmark = pytest.mark.module

CANNOT_START = 4
BACK_S = 20.0
MATRIX = Matrix()


@pytest.fixture(scope="module", params=MODULES, ids=lambda kind: kind.name)
def node(request: pytest.FixtureRequest) -> Iterator[ModuleNode]:
    """A node whose keys are on a token of the module; one per module."""
    kind: type[Module] = request.param
    missing = kind.missing()
    if missing:
        MATRIX.lacks(kind, missing)
        pytest.skip(f"{kind.name}: {missing}")
    with ModuleNode(kind) as running:
        MATRIX.lists(kind, {*running.module.keys, *running.module.refused})
        yield running


def digest_of(kind: LineKind, text: str) -> tuple[DigestAlgorithm, bytes]:
    """Of a text, as the line wants it."""
    algorithm = next(one for one in DigestAlgorithm if one.label == kind.digest)
    return algorithm, hashlib.new(kind.digest, text.encode()).digest()


def verify(node: ModuleNode, kind: LineKind, text: str, document: bytes) -> bool:
    """Whether others take it for a signature of `text`: proofs the independent verifier, direct ones openssl."""
    algorithm, digest = digest_of(kind, text)
    if kind.mode is Mode.PROOF:
        try:
            independent_verify(node.trust_file(kind.line).read_text(), algorithm.label, digest, document)
        except ValueError:
            return False
        verify_proof(node.trust(kind.line), algorithm, digest, document)
        return True
    signature, signed = node.place / "signature", node.place / "signed"
    signature.write_bytes(document)
    signed.write_text(text)
    command = ["openssl", "dgst", f"-{kind.digest}", "-verify", str(node.public_key(kind.line))]
    if kind.format == "rsa-pss":
        command += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{len(digest)}"]
    done = subprocess.run([*command, "-signature", str(signature), str(signed)], capture_output=True, check=False)
    return done.returncode == 0


def sign(client: Client, kind: LineKind, text: str) -> bytes:
    """A proof or a signature."""
    algorithm, digest = digest_of(kind, text)
    answer = client.sign(digest, algorithm, line=kind.line)
    return answer.proof if kind.mode is Mode.PROOF else answer.signature


def sign_until(client: Client, kind: LineKind, text: str) -> bytes:
    """The same from a node that is coming back: a client asks again for as long as it is told to."""
    ends = time.monotonic() + BACK_S
    while True:
        try:
            return sign(client, kind, text)
        except SealpressError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)


def test_it_signs_and_others_verify(node: ModuleNode) -> None:
    """Every mechanism that the module lists: one by one and in a batch; not over anything else."""
    for kind in node.lines:
        with MATRIX.cell(node.module, kind, "sign"), node.client() as client:
            one = sign(client, kind, "one")
            algorithm, _ = digest_of(kind, "")
            many = [digest_of(kind, f"many {number}")[1] for number in range(9)]
            batch = client.sign_batch(b"".join(many), algorithm, line=kind.line).documents
        with MATRIX.cell(node.module, kind, "verify"):
            assert verify(node, kind, "one", one)
            assert [verify(node, kind, f"many {number}", document) for number, document in enumerate(batch)] == [
                True
            ] * 9
            assert not verify(node, kind, "another", one)


def test_it_refuses(node: ModuleNode) -> None:
    """Who has no right, and a digest that the line does not sign: refused, and the next good request is not."""
    for kind in node.lines:
        with MATRIX.cell(node.module, kind, "refuse"), node.client("stranger") as stranger, node.client() as client:
            with pytest.raises(NotPermitted):
                sign(stranger, kind, "no right")
            other = next(one for one in DigestAlgorithm if one.label != kind.digest)
            with pytest.raises(SealpressError) as refused:
                client.sign(bytes(other.size), other, line=kind.line)
            assert refused.value.reason == "ALGORITHM_NOT_ALLOWED"
            assert verify(node, kind, "right", sign(client, kind, "right"))


def test_it_comes_back_after_kill_9(node: ModuleNode) -> None:
    """Of the worker, which the signer replaces, and of the signer, which its supervisor starts again."""
    with node.client() as client:
        node.kill_worker()
        for kind in node.lines:
            with MATRIX.cell(node.module, kind, "kill"):
                assert verify(node, kind, "worker", sign_until(client, kind, "worker"))
        node.kill("signer")
        with node.client(attempts_max=1) as once, pytest.raises(Unavailable):
            sign(once, node.lines[0], "nobody signs")
        node.start("signer")
        for kind in node.lines:
            with MATRIX.cell(node.module, kind, "kill"):
                assert verify(node, kind, "signer", sign_until(client, kind, "signer"))


def hsm_check(node: ModuleNode, *options: str) -> subprocess.CompletedProcess[str]:
    """`sealpress hsm check` beside the working signer."""
    command = [sys.executable, "-m", "sealpress", "hsm", "check", *options]
    environment = {**dev.environment(node.directory), **node.module.env, "COLUMNS": "200"}  # no cell in two lines
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_hsm_check_says_what_it_is(node: ModuleNode) -> None:
    """The token, a good signature of every key, what the module says of its attributes, and the same in words."""
    done = hsm_check(node, "--config", str(node.config), "--json")
    assert done.returncode == 0, done.stdout
    (module,) = json.loads(done.stdout)["modules"]
    token = next(token for token in module["tokens"] if token["slot"])
    ours = [key for key in token["keys"] if key["key"]]

    assert (module["problem"], token["problem"], token["missing"], token["logged_in"]) == ("", "", [], True)
    assert {key["key"]: (key["kind"], key["signature"]) for key in ours} == {
        kind.name: (kind.kind, "good") for kind in node.lines
    }
    for key in ours:
        told = key["attributes"]
        assert (told["sensitive"], told["extractable"], told["sign"]) == (True, False, True), key
    assert token["rates"][0]["per_s"] > 0


def test_hsm_check_before_anything_is_configured(node: ModuleNode) -> None:
    """By path, label and PIN file alone, a table for people: every key signs, with the mechanisms that were found."""
    module = node.module
    where = ("--module", module.path(), "--label", module.label, "--pin-file", str(module.place / "pin"))
    done = hsm_check(node, *where, "--reserved", module.reserved)

    rows = {line.split("│")[2].strip(): line for line in done.stdout.splitlines() if line.count("│") > 3}
    for kind in node.lines:
        assert "good" in rows[kind.name]
    assert "to sign: " in done.stdout
    assert "/s" in done.stdout


def test_what_a_module_gets_wrong_is_found(node: ModuleNode) -> None:
    """A key that the module makes and cannot sign with is refused when it is made, with a reason; no other is."""
    wrong = {kind.name for kind in KINDS if kind.kind in node.module.broken}

    assert set(node.module.refused) == wrong, node.module.refused
    assert all("cannot be read back" in why for why in node.module.refused.values())


def test_a_wrong_pin_is_tried_once(node: ModuleNode) -> None:
    """Exit 4 with the reason, twice, and no second try; the right one still works: the token is not locked."""
    pin = node.directory / "token" / "pin"
    node.stop("signer")
    pin.write_text("not-the-pin-at-all\n")
    first, second = node.run("signer"), node.run("signer")
    pin.write_text(PIN + "\n")
    node.start("signer")
    with node.client() as client:
        for kind in node.lines:
            with MATRIX.cell(node.module, kind, "wrong PIN"):
                assert (first.returncode, second.returncode) == (CANNOT_START, CANNOT_START), first.stderr
                assert "the token rejected the PIN" in first.stderr
                assert "rejected" in second.stderr
                assert "not-the-pin" not in first.stderr + second.stderr + node.words
                assert verify(node, kind, "after", sign_until(client, kind, "after"))


def test_every_module_did_it_all() -> None:
    """The matrix that is printed at the end has no hole: what ran passed, what a module does not list says so."""
    assert MATRIX.failed() == []
