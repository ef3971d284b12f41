"""What does the signing loop make of a token, beside a bare loop in C and beside python-pkcs11, with as many threads?

All sign through one module that was initialised with locking; without it python-pkcs11's threads would crash it. Each
side has sessions of its own. What verifying costs stands beside it: the guard does that, in another process.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pkcs11
import pytest

from bench.harness import compiled
from bench.run import Target
from kit.signer import SOFTHSM, Node, make_node
from sealpress.core import p11
from sealpress.hsm import module
from sealpress.hsm.signatures import Scheme, direct_scheme
from sealpress.values import DigestAlgorithm, Format, Mode

if TYPE_CHECKING:
    from bench.harness import Ratios

KEYS = {
    "p256": ("p256", "main", "direct", "ecdsa-der"),
    "rsa2048": ("rsa2048", "main", "direct", "rsa-pkcs1v15"),
    "rsa3072": ("rsa3072", "main", "direct", "rsa-pkcs1v15"),
}
COUNTS = {"p256": 4_000, "rsa2048": 400, "rsa3072": 100}
SHA256 = DigestAlgorithm.SHA256
DIGEST = hashlib.sha256(b"bench").digest()


@dataclass(frozen=True)
class Operation:
    """One kind of signature: the loop's job, what python-pkcs11 is told, and who judges it."""

    job: p11.Job
    mechanism: pkcs11.Mechanism
    scheme: Scheme


@dataclass(frozen=True)
class Bench:
    """A logged-in token in this process, and the directory of its public keys."""

    token: module.Token
    node: Node

    def sessions(self, count: int) -> list[int]:
        """Handles of fresh sessions."""
        return [int(self.token.open_session().handle) for _ in range(count)]

    def keys(self, name: str, count: int) -> list[Any]:
        """The private key as python-pkcs11 has it, in sessions of its own."""
        template = {pkcs11.Attribute.LABEL: name, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
        return [key for _ in range(count) for key in list(self.token.open_session().get_objects(template))]

    def operation(self, name: str) -> Operation:
        """A key of the token and its mechanism."""
        scheme = direct_scheme(Mode.DIRECT, Format(KEYS[name][3]), self.node.public(name))
        assert scheme is not None
        made = scheme.job(name, SHA256, DIGEST)
        (key,) = self.keys(name, 1)
        job = p11.Job(int(key.handle), made.mechanism, made.parameter, made.size, made.data)
        return Operation(job, pkcs11.Mechanism(made.mechanism), scheme)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The token and its keys."""
    node = make_node(tmp_path_factory.mktemp("bench") / "n", keys=KEYS)
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", node.env["SOFTHSM2_CONF"])
    found = module.Token(module.TokenName(SOFTHSM, "", "", "kit"))
    found.login(str(node.directory / "pin"), bytes(32), ())
    yield Bench(found, node)
    patch.undo()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """bench/raw_loop.c, compiled."""
    loop = compiled("raw_loop.c", tmp_path_factory.mktemp("raw")).raw_loop
    whole, number, text = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_char_p
    loop.argtypes = [text, ctypes.POINTER(whole), number, whole, whole, text, whole, number]
    loop.restype = number
    return loop


def python_loop(key: Any, op: Operation, count: int) -> None:
    """What a thread of a python-pkcs11 signer does."""
    for _ in range(count):
        key.sign(op.job.data, mechanism=op.mechanism)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", list(KEYS))
def test_signing_loop(ratio: Ratios, tiny: bool, bench: Bench, raw: Any, name: str, threads: int) -> None:
    """At least 0.9 of a bare loop in C; with P-256 1.3 times as fast as python-pkcs11's threads, no slower with RSA."""
    count = 16 if tiny else COUNTS[name]
    op = bench.operation(name)
    pool = p11.Pool(bench.sessions(threads))
    sessions = (ctypes.c_uint64 * threads)(*bench.sessions(threads))
    keys = bench.keys(name, threads)
    jobs = [op.job] * count
    parts = [jobs[part::threads] for part in range(threads)]  # as the worker has it: several batches at a time
    assert len(keys) == threads
    outcomes = pool.sign(jobs)
    assert all(outcome.rv == 0 and op.scheme.finish(SHA256, DIGEST, outcome.signature) for outcome in outcomes)

    def bare() -> None:
        data = op.job.data
        failed = raw(
            SOFTHSM.encode(), sessions, threads, op.job.key, op.job.mechanism, data, len(data), count // threads
        )
        assert failed == 0

    with ThreadPoolExecutor(threads) as executor:

        def theirs() -> None:
            list(executor.map(lambda key: python_loop(key, op, count // threads), keys))

        quicker = 1.3 if name == "p256" and threads > 1 else 1.0
        for baseline_name, baseline, needed in (
            ("a bare C loop", bare, 0.9),
            ("a python-pkcs11 loop", theirs, quicker),
        ):
            ratio.race(
                f"sign {name}, {threads} threads, beside {baseline_name}",
                "op/s",
                amount=count,
                product=lambda: list(executor.map(pool.sign, parts)),
                baseline=baseline,
                baseline_name=baseline_name,
                turns=None if tiny else 9,
                target=Target(ratio_min=needed),
            )
    pool.close()


@pytest.mark.parametrize("name", list(KEYS))
def test_verifying(ratio: Ratios, tiny: bool, bench: Bench, name: str) -> None:
    """What the guard pays for L5, beside the token operation that it follows: one thread each."""
    count = 16 if tiny else COUNTS[name] // 4
    op = bench.operation(name)
    pool = p11.Pool(bench.sessions(1))
    raws = [outcome.signature for outcome in pool.sign([op.job] * count)]
    ratio.race(
        f"verify {name} (the guard, after each signature)",
        "op/s",
        amount=count,
        product=lambda: [op.scheme.finish(SHA256, DIGEST, raw) for raw in raws],
        baseline=lambda: pool.sign([op.job] * count),
        baseline_name="the token signs",
    )
    pool.close()
