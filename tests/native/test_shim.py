"""Does the PKCS#11 shim do to a caller what it was told, and nothing else? python-pkcs11 and the core call it.

Each question gets a process of its own, because a process has one module; the shim is ordered about from within it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kit import shim
from kit.signer import SOFTHSM, Node, make_node

TESTS = Path(__file__).resolve().parents[1]
PRELUDE = f"""
import hashlib, os, sys, threading, time
from pathlib import Path
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass, TokenFlag
from pkcs11.exceptions import *
sys.path.insert(0, {str(TESTS)!r})
from kit.shim import *
from sealpress.core import p11
from sealpress.errors import CannotStart
from sealpress.hsm.module import Token, TokenName
directory, page, path = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
DIGEST = hashlib.sha256(b"x").digest()
shim = Shim(page, {SOFTHSM!r}, seed=int(os.environ.get("SEED", "1")))
os.environ.update(shim.env)
def opened():
    token = Token(TokenName(path, "", "", "kit"))
    token.login(str(directory / "pin"), bytes(32), ())
    return token
def private(session):
    template = {{Attribute.LABEL: "p256", Attribute.CLASS: ObjectClass.PRIVATE_KEY}}
    (key,) = session.get_objects(template)
    return key
def public(session):
    template = {{Attribute.LABEL: "p256", Attribute.CLASS: ObjectClass.PUBLIC_KEY}}
    (key,) = session.get_objects(template)
    return key
def sign(key, digest=DIGEST):
    return key.sign(digest, mechanism=Mechanism.ECDSA)       # C_SignInit, C_Sign for the size, C_Sign
def good(session, signature, digest=DIGEST):
    return public(session).verify(digest, signature, mechanism=Mechanism.ECDSA)
def jobs(session, count):
    return [p11.Job(private(session).handle, 0x1041, 0, 64, DIGEST)] * count
def fails(kind, call, *arguments):
    try: call(*arguments)
    except kind: return True
    return False
token = opened()
session = token.open_session()
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned token."""
    return make_node(tmp_path_factory.mktemp("shim") / "n", keys={"p256": ("p256", "main", "direct", "ecdsa-der")})


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    return shim.build(tmp_path_factory.mktemp("module"))


def run(node: Node, module: Path, place: Path, script: str, code: int = 0, seed: int = 1) -> str:
    """Standard output of a script that ended so."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(node.directory), str(place / "page"), str(module)],
        env={**node.env, "SEED": str(seed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def test_the_page_is_the_same_for_both_sides() -> None:
    """Kinds of faults and numbers of functions and rules in Python are those of the header."""
    text = (shim.SOURCES / "shim.h").read_text()
    kinds = {name: int(number) for name, number in re.findall(r"^    SHIM_(\w+) = (\d+),", text, re.MULTILINE)}

    assert {kind.name: kind.value for kind in shim.Kind} == kinds
    assert len(shim.functions()) == 68


def test_calls_pass_through_and_are_counted(node: Node, module: Path, tmp_path: Path) -> None:
    """Signatures are the token's; each call counts, and so does each failure; sessions are known."""
    script = """
key = private(session)
assert all(good(session, sign(key)) for _ in range(5))
assert (shim["C_SignInit"], shim["C_Sign"], shim["C_Verify"], shim["C_Login"]) == (5, 10, 5, 1)
assert shim.initialize_flags == 2 and shim.sessions_open == 2
assert not good(session, bytes(64))
assert (shim.failures("C_Sign"), shim.failures("C_Verify")) == (0, 1)
session.close()
assert shim.sessions_open == 1
"""
    run(node, module, tmp_path, script)


@pytest.mark.timing
def test_a_delay_is_each_calls_own(node: Node, module: Path, tmp_path: Path) -> None:
    """Four sessions with 20 ms an operation do eight in two of them; the delay ends when the rule does."""
    script = """
pool = p11.Pool([token.open_session().handle for _ in range(4)])
work = jobs(session, 8)
rule = shim.delay("C_Sign", 20)
began = time.monotonic()
outcomes = pool.sign(work)
took = time.monotonic() - began
assert all(outcome.elapsed_ns >= 20e6 for outcome in outcomes)
assert 0.04 <= took < 0.14, took
rule.remove()
assert all(outcome.elapsed_ns < 20e6 for outcome in pool.sign(work)[4:])
assert (rule.seen, rule.met, shim["C_Sign"]) == (8, 8, 16)
"""
    run(node, module, tmp_path, script)


@pytest.mark.timing
def test_a_rate_is_held_over_all_sessions(node: Node, module: Path, tmp_path: Path) -> None:
    """Four sessions on an engine of 200 a second: 60 operations take 0.3 s, whatever the sleeps overshoot."""
    script = """
pool = p11.Pool([token.open_session().handle for _ in range(4)])
shim.hold_rate("C_Sign", 200)
began = time.monotonic()
pool.sign(jobs(session, 60))
took = time.monotonic() - began
assert 0.3 <= took < 0.4, took
"""
    run(node, module, tmp_path, script)
