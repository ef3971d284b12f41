"""Is daemon/VERIFYING.md enough to verify a proof with? Its program, as it is printed there, against the verifier."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from kit.fabricate import TIME, World
from sealpress.verify.limits import Void, load_limits

DOCUMENT = Path(__file__).resolve().parents[3] / "daemon" / "VERIFYING.md"
DIGEST = hashlib.sha256(b"artifact").digest()


@pytest.fixture(scope="module")
def check() -> Callable[[str, bytes, bytes], Any]:
    """The function of the printed program."""
    found = re.search(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    space: dict[str, Any] = {"__name__": "document"}
    exec(found[1], space)  # noqa: S102 - our own document
    function: Callable[[str, bytes, bytes], Any] = space["check"]
    return function


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p521"])
def test_the_printed_program_accepts_good_proofs(check: Callable[[str, bytes, bytes], Any], kind: str) -> None:
    """Every index of small trees, for each kind of key that it knows."""
    world = World.make(kind)

    for size in (1, 2, 3, 5, 8):
        for index in range(size):
            proof = world.prove(DIGEST, size=size, index=index).write()
            assert check(world.policy, DIGEST, proof) == (world.line.line, index, TIME)


def test_the_printed_program_refuses_what_is_wrong(check: Callable[[str, bytes, bytes], Any]) -> None:
    """Another digest, kind of leaf, path, key, log, a proof too late: none is taken."""
    world, parts = World.make(), World.make().prove(DIGEST)
    good = world.prove(DIGEST)
    wrong = [
        (hashlib.sha256(b"other").digest(), good),
        (DIGEST, world.prove(DIGEST, kind=3)),
        (DIGEST, world.prove(DIGEST, sealed=TIME + 301)),
        (DIGEST, world.prove(DIGEST, sealed=TIME - 1)),
        (DIGEST, good.but(index=good.index + 1)),
        (DIGEST, good.but(path=good.path[:-1])),
        (DIGEST, good.but(path=(*good.path, good.path[0]))),
        (DIGEST, good.but(signatures=good.signatures[:1])),
        (DIGEST, good.but(signatures=good.signatures[1:])),
        (DIGEST, parts),
    ]

    for digest, proof in wrong:
        with pytest.raises((ValueError, LookupError, AttributeError, InvalidSignature)):
            check(world.policy, digest, proof.write())


def test_the_printed_limits_are_read_as_they_are(tmp_path: Path) -> None:
    """Who ends a line copies them, and no manual of ours is another file's docstring."""
    found = re.search(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    (tmp_path / "limits.toml").write_text(found[1])
    limits = load_limits(tmp_path / "limits.toml")

    assert (limits.not_after_s, limits.min_security_version, limits.void) == (1_798_761_600, 7, (Void(1000, 1999),))
