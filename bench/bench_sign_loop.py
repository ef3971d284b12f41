"""What does the signing loop make of a token, beside python-pkcs11 on the same sessions' count, threads and table?

Both sides sign through the core's table, so both have locking; without it the baseline would crash the module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pkcs11
import pytest

from kit.signer import SOFTHSM, make_node
from sealpress.core import p11
from sealpress.hsm import module

if TYPE_CHECKING:
    from bench.harness import Ratios

KEYS = {"p256": ("p256", "main", "direct", "ecdsa-der"), "rsa3072": ("rsa3072", "main", "direct", "rsa-pkcs1v15")}
PKCS1 = bytes.fromhex("3031300d060960864801650304020105000420")
DIGEST = hashlib.sha256(b"bench").digest()


@dataclass(frozen=True)
class Operation:
    """One kind of signature: the loop's job, and what python-pkcs11 is told."""

    job: p11.Job
    mechanism: pkcs11.Mechanism
    label: str


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[module.Token]:
    """A logged-in token in this process."""
    node = make_node(tmp_path_factory.mktemp("bench") / "n", keys=KEYS)
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", node.env["SOFTHSM2_CONF"])
    found = module.Token(module.TokenName(SOFTHSM, "", "", "kit"))
    found.login(str(node.directory / "pin"), bytes(32), ())
    yield found
    patch.undo()


def operation(found: module.Token, name: str) -> Operation:
    """A key of the token and its mechanism."""
    session = found.open_session()
    (key,) = session.get_objects({pkcs11.Attribute.LABEL: name, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
    if name == "p256":
        return Operation(p11.Job(key.handle, 0x1041, 0, 64, DIGEST), pkcs11.Mechanism.ECDSA, name)
    return Operation(p11.Job(key.handle, 0x1, 0, 384, PKCS1 + DIGEST), pkcs11.Mechanism.RSA_PKCS, name)


def python_loop(key: Any, op: Operation, count: int) -> None:
    """What a thread of a python-pkcs11 signer does."""
    for _ in range(count):
        key.sign(op.job.data, mechanism=op.mechanism)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", list(KEYS))
def test_signing_loop(ratio: Ratios, tiny: bool, token: module.Token, name: str, threads: int) -> None:
    """A batch of signatures in one call, against as many threads of python-pkcs11, each with its session."""
    count = 16 if tiny else (8_000 if name == "p256" else 400)
    op = operation(token, name)
    pool = p11.Pool([token.open_session().handle for _ in range(threads)])
    sessions = [token.open_session() for _ in range(threads)]
    template = {pkcs11.Attribute.LABEL: name, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    keys = [key for session in sessions for key in list(session.get_objects(template))]
    jobs = [op.job] * count
    assert len(keys) == threads
    assert all(outcome.rv == 0 and len(outcome.signature) == op.job.size for outcome in pool.sign(jobs))

    with ThreadPoolExecutor(threads) as executor:

        def theirs() -> None:
            list(executor.map(lambda key: python_loop(key, op, count // threads), keys))

        ratio.race(
            f"sign {name}, {threads} threads",
            "op/s",
            amount=count,
            product=lambda: pool.sign(jobs),
            baseline=theirs,
            baseline_name="python-pkcs11 loop",
        )
    pool.close()
