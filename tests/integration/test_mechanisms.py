"""Every kind of key, on a real token: does the signer sign with it, and do our verifier and strangers agree?"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from independent.verifier import verify as other_verify
from kit.signer import SOFTHSM, FakeLog, Node, Signer, line_of, make_node, raw_status
from sealpress.core.proof import parse_note, write_proof
from sealpress.hsm.link import SignerLink
from sealpress.hsm.mechanisms import CKM_ML_DSA
from sealpress.hsm.outcomes import Sealed
from sealpress.hsm.provision import softhsm_conf
from sealpress.values import DigestAlgorithm, Format
from sealpress.verify import direct, note
from sealpress.verify.policy import parse_policy
from sealpress.verify.proof import verify_proof

PROOF = ["ed25519", "p256", "p384", "p521", "rsa2048"]
DIRECT = {
    "p256": ("ecdsa-der", DigestAlgorithm.SHA256),
    "p384": ("ecdsa-der", DigestAlgorithm.SHA384),
    "p521": ("ecdsa-der", DigestAlgorithm.SHA512),
    "rsa2048": ("rsa-pkcs1v15", DigestAlgorithm.SHA256),
    "rsa4096": ("rsa-pss", DigestAlgorithm.SHA512),
}
KEYS = {f"proof-{kind}": (kind, "main", "proof", "tlog-proof") for kind in PROOF} | {
    f"direct-{kind}": (kind, "main", "direct", format_) for kind, (format_, _) in DIRECT.items()
}
CONTENT = b"firmware"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One token with a key of each kind, and its signer."""
    made = make_node(tmp_path_factory.mktemp("mechanisms") / "n", keys=KEYS)
    with Signer(made):
        yield made


@pytest.fixture(scope="module")
def log() -> FakeLog:
    """The one log that all of them grow."""
    return FakeLog()


@pytest.fixture
async def link(node: Node) -> AsyncIterator[SignerLink]:
    """A connection to the signer."""
    made = SignerLink(node.socket, 10_000)
    await made.connect()
    yield made
    await made.close()


async def seal(link: SignerLink, log: FakeLog, keys: list[str]) -> Sealed:
    """The head with all that was appended, accepted and signed."""
    size, root, path = log.growth()
    await link.advance(log.origin, size, root, path, int(time.time()))
    return await link.seal(log.origin, size, keys)


def openssl(node: Node, key: str, algorithm: DigestAlgorithm, signature: bytes, content: bytes) -> bool:
    """What `openssl` says of a raw signature."""
    public = node.directory / "keys" / f"{key}.pem"
    file, sig = node.directory / "content", node.directory / "sig"
    file.write_bytes(content)
    sig.write_bytes(signature)
    if key.endswith("ed25519"):
        command = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-sigfile", sig, "-in", file]
    else:
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{algorithm.size}"]
        padding = pss if key in ("proof-rsa2048", "direct-rsa4096") else []
        command = ["dgst", f"-{algorithm.label}", "-verify", public, *padding, "-signature", sig, file]
    return subprocess.run(["openssl", *command], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("kind", PROOF)
async def test_a_proof_line_of_every_kind(node: Node, link: SignerLink, log: FakeLog, kind: str) -> None:
    """Its proof verifies offline, for us and for a stranger; openssl verifies the cosignature alone."""
    key = f"proof-{kind}"
    signature, message = await prove(node, link, log, key)
    algorithm = direct.usual_algorithm(note.public_key(node.public(key)))

    assert openssl(node, key, algorithm, signature, message)
    assert not openssl(node, key, algorithm, signature, message + b".")
    asked = {"ed25519": "EDDSA", "rsa2048": "SHA256_RSA_PKCS_PSS"}  # SoftHSM 2.6 hashes for RSA, not for ECDSA
    assert (await raw_status(node)).keys[key].mechanism == asked.get(kind, "ECDSA")


@pytest.mark.parametrize("kind", ["mldsa44", "mldsa65", "mldsa87"])
async def test_a_proof_line_of_ml_dsa(tmp_path: Path, kind: str) -> None:
    """On a module that offers PKCS#11 3.2: its proof verifies offline."""
    if CKM_ML_DSA not in offered(tmp_path):
        pytest.skip(f"{SOFTHSM} lists no CKM_ML_DSA (PKCS#11 3.2)")
    node = make_node(tmp_path / "n", keys={f"proof-{kind}": (kind, "main", "proof", "tlog-proof")})
    with Signer(node):
        link = SignerLink(node.socket, 10_000)
        await link.connect()
        await prove(node, link, FakeLog(), f"proof-{kind}")
        await link.close()


def offered(directory: Path) -> set[int]:
    """Mechanisms of the module's slots."""
    script = (
        "import sys\nfrom sealpress.hsm.module import TokenName, load\n"
        "slots = load(TokenName(sys.argv[1], '', '', '')).get_slots()\n"
        "print(*{int(one) for slot in slots for one in slot.get_mechanisms()})"
    )
    conf = softhsm_conf(directory)
    done = subprocess.run(
        [sys.executable, "-c", script, SOFTHSM], env={**os.environ, "SOFTHSM2_CONF": str(conf)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return {int(word) for word in done.stdout.split()}


async def prove(node: Node, link: SignerLink, log: FakeLog, key: str) -> tuple[bytes, bytes]:
    """Sign a leaf's head, verify its proof twice, offline; the cosignature and what it is over."""
    digest = hashlib.sha256(CONTENT).digest()
    index, opening = log.proof(node.public(key), line_of(key), digest, int(time.time()))
    sealed = await seal(link, log, [key])
    text = note.checkpoint_text(log.origin, sealed.size, log.tree.root())
    checkpoint = text + b"\n" + sealed.log_signature_line + sealed.lines[key].line
    proof = write_proof(opening, index, log.tree.inclusion(index, sealed.size), checkpoint)
    raw = note.public_key(note.canonical_spki((node.directory / "main.pub").read_bytes()))
    assert isinstance(raw, Ed25519PublicKey)
    line_key = note.line_key(f"{log.name}/{line_of(key)}", node.public(key))
    log_vkey = note.log_key(log.origin, raw.public_bytes_raw()).vkey
    policy = f"log {log_vkey}\nwitness line {line_key.vkey}\nquorum line\n"

    assert verify_proof(parse_policy(policy.encode()), DigestAlgorithm.SHA256, digest, proof).index == index
    assert other_verify(policy, "sha256", digest, proof)
    return parse_note(checkpoint).lines[1].signature[8:], note.cosignature_message(text, sealed.time)


@pytest.mark.parametrize("kind", DIRECT)
async def test_a_direct_line_of_every_kind(node: Node, link: SignerLink, log: FakeLog, kind: str) -> None:
    """Its raw signature verifies for us, for `sealpress verify` and for openssl, over this content only."""
    (format_, algorithm), key = DIRECT[kind], f"direct-{kind}"
    digest = hashlib.new(algorithm.label, CONTENT).digest()
    leaf = log.direct(node.public(key), line_of(key), digest, int(time.time()), algorithm)
    sealed = await seal(link, log, [])
    (answer,) = await link.direct(key, [log.item(*leaf, digest)], sealed.size)
    public = note.public_key(node.public(key))

    direct.verify_direct(public, Format(format_), algorithm, digest, answer.signature)
    assert openssl(node, key, algorithm, answer.signature, CONTENT)
    assert not openssl(node, key, algorithm, answer.signature, CONTENT + b".")
    (node.directory / "content").write_bytes(CONTENT)
    (node.directory / "content.sig").write_bytes(answer.signature)
    arguments = ["verify", "--public-key", f"keys/{key}.pem", "--algorithm", algorithm.label, "content"]
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "sealpress", *arguments], cwd=node.directory, capture_output=True, text=True, check=False
    )
    assert (done.returncode, format_ in done.stdout) == (0, True), done.stdout + done.stderr
