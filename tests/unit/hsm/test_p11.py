"""The core's table and signing loop on SoftHSM: one process has one module, so each question gets its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit import shim
from kit.signer import SOFTHSM, Node, make_node

KEYS = {"p256": ("p256", "main", "direct", "ecdsa-der"), "ed": ("ed25519", "main", "proof", "tlog-proof")}
PRELUDE = """
import hashlib, hmac, os, re, sys, threading, time
from pathlib import Path
import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sealpress.core import p11
from sealpress.errors import CannotStart, CoreError, TokenError
from sealpress.hsm import module
directory, path = Path(sys.argv[1]), sys.argv[2]
DIGEST = hashlib.sha256(b"x").digest()
def opened():
    token = module.Token(module.TokenName(path, "", "", "kit"))
    token.login(str(directory / "pin"), bytes(32), ())
    return token
def private(session, label="p256"):
    template = {pkcs11.Attribute.LABEL: label, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    (key,) = session.get_objects(template)
    return key
def job(key):
    return p11.Job(key.handle, 0x1041, 0, 64, DIGEST)
def check(raw):
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    public = load_pem_public_key((directory / "keys" / "p256.pem").read_bytes())
    public.verify(der, DIGEST, ec.ECDSA(Prehashed(SHA256())))
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned token."""
    return make_node(tmp_path_factory.mktemp("p11") / "n", keys=KEYS)


def run(
    node: Node,
    script: str,
    *,
    module: str = SOFTHSM,
    env: dict[str, str] | None = None,
    arguments: list[str] | None = None,
) -> str:
    """Standard output of a script that ended well."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, str(node.directory), module, *(arguments or [])],
        env={**node.env, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def test_threads_of_python_pkcs11_are_safe_through_our_table(node: Node) -> None:
    """Four threads with a session each, on a module that crashes without locking: every signature verifies."""
    script = """
token = opened()
failures = []
def work():
    session = token.open_session()
    key = private(session)
    for _ in range(300):
        try: check(key.sign(DIGEST, mechanism=pkcs11.Mechanism.ECDSA))
        except Exception as error: failures.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert not failures, failures[:3]
"""
    run(node, script)


def test_the_pool_serves_all_callers(node: Node) -> None:
    """Callers of any number of threads get their own signatures in order, two C calls each and no size query."""
    script = """
token = opened()
pool = p11.Pool([token.open_session().handle for _ in range(3)])
key = private(token.open_session())
failures = []
def work(count):
    for outcome in pool.sign([job(key)] * count):
        try: check(outcome.signature)
        except Exception as error: failures.append(repr(error))
        if outcome.rv or outcome.session is None or not outcome.elapsed_ns: failures.append(outcome)
threads = [threading.Thread(target=work, args=(count,)) for count in (0, 1, 2, 50, 200)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert not failures, failures[:3]
assert pool.alive() == [True] * 3
try: p11.finalize()
except CoreError as error: assert error.name == "SP_E_BUSY"
pool.close()
p11.finalize()
"""
    run(node, script)


def test_calls_count_in_the_module(node: Node, tmp_path: Path) -> None:
    """One initialisation with locking, one login, one C_SignInit and one C_Sign per signature."""
    script = """
token = opened()
pool = p11.Pool([token.open_session().handle for _ in range(2)])
assert all(not outcome.rv for outcome in pool.sign([job(private(token.open_session()))] * 20))
pool.close()
"""
    with shim.Shim(tmp_path / "counters", SOFTHSM) as counters:
        run(node, script, module=str(shim.built()), env=counters.env)
        names = ("C_Initialize", "C_Login", "C_SignInit", "C_Sign")
        assert [counters[name] for name in names] == [1, 1, 20, 20]
        assert counters.initialize_flags == 2


def test_a_session_with_an_error_is_dead_until_replaced(node: Node) -> None:
    """A bad job kills its session; when none is left jobs come back untried; a fresh session revives the place."""
    script = """
token = opened()
pool = p11.Pool([token.open_session().handle for _ in range(2)])
key = private(token.open_session())
bad = p11.Job(999_999, 0x1041, 0, 64, DIGEST)
outcomes = pool.sign([bad] * 5)
assert all(outcome.rv and not outcome.signature for outcome in outcomes)
assert sorted(outcome.session is None for outcome in outcomes) == [False, False, True, True, True]
assert pool.alive() == [False, False]
assert pool.sign([job(key)])[0].session is None
pool.replace(1, token.open_session().handle)
outcome, = pool.sign([job(key)])
check(outcome.signature)
assert outcome.session == 1 and pool.alive() == [False, True]
try: pool.replace(1, 5)
except CoreError as error: assert error.name == "SP_E_BUSY"
else: raise AssertionError
"""
    run(node, script)


def test_handles_of_an_ended_generation_are_not_used(node: Node) -> None:
    """After `retire` neither an old key nor an old session signs, and the token hears of none; new ones do."""
    script = """
token = opened()
pool = p11.Pool([token.open_session().handle, 0])
key = private(token.open_session())
assert (pool.alive(), pool.dead()) == ([True, False], [1])
check(pool.sign([job(key)])[0].signature)
assert pool.retire() == pool.generation == 1
assert pool.sign([job(key)], generation=0)[0].session is None
assert pool.sign([job(key)], generation=1)[0].session is None
try: pool.replace(0, token.open_session().handle)
except CoreError as error: assert error.name == "SP_E_MISMATCH"
else: raise AssertionError
pool.replace(0, token.open_session().handle, generation=1)
assert pool.sign([job(key)], generation=0)[0].session is None
check(pool.sign([job(key)], generation=1)[0].signature)
"""
    run(node, script)


@pytest.mark.timing
def test_as_many_sessions_work_as_the_token_bears(node: Node, tmp_path: Path) -> None:
    """Eight on a token that a crowd slows down do about what one does, not an eighth; eight that do not mind, all."""
    script = """
sys.path.insert(0, sys.argv[3])
from kit.shim import Shim, crowd, delay
page = Shim(Path(sys.argv[4]), os.environ["SEALPRESS_SHIM_MODULE"])
os.environ.update(page.env)
token = opened()
key = private(token.open_session())
pool = p11.Pool([token.open_session().handle for _ in range(8)])
one = p11.Pool([token.open_session().handle])
def seconds(pool, fault, count=200):
    rule = page.inject("C_Sign", fault)
    pool.sign([job(key)] * 30)
    began = time.monotonic()
    assert not any(outcome.rv for outcome in pool.sign([job(key)] * count))
    took = time.monotonic() - began
    rule.remove()
    return took
alone = seconds(one, delay(5))                                  # 1 s, or what a machine with other work makes of it
took = [seconds(pool, delay(5))]
until = time.monotonic() + 60
while pool.limit < 8:                                           # a machine that stalls looks like a slow token
    assert time.monotonic() < until, pool.limit
    took.append(seconds(pool, delay(5)))
took.extend(seconds(pool, delay(5)) for _ in range(4))
assert min(took) < alone / 4, (took, alone)
took = seconds(pool, crowd(5))
assert took < 4 * alone and pool.limit <= 3, (took, alone, pool.limit)      # one at a time: 1 s; eight: 8 s
"""
    module = str(shim.built())
    arguments = [str(Path(shim.__file__).parents[1]), str(tmp_path / "page")]
    run(node, script, module=module, env={"SEALPRESS_SHIM_MODULE": SOFTHSM}, arguments=arguments)


def test_a_child_of_fork_is_refused(node: Node) -> None:
    """Neither the pool, nor a new session, nor a new module: the parent's sessions stay whole."""
    script = """
token = opened()
pool = p11.Pool([token.open_session().handle])
key = private(token.open_session())
names = []
if os.fork() == 0:
    for call in (lambda: pool.sign([job(key)]), lambda: p11.Pool([1]), lambda: p11.open_module(path), p11.initialize,
                 lambda: p11.token_flags(token.slot_id)):
        try: call()
        except CoreError as error: names.append(error.name)
    for call in (token.open_session, lambda: key.sign(DIGEST, mechanism=pkcs11.Mechanism.ECDSA)):
        try: call()
        except Exception as error: names.append(type(error).__name__)
    os._exit(0 if names == ["SP_E_FORKED"] * 5 + ["CannotStart", "GeneralError"] else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
check(pool.sign([job(key)])[0].signature)
"""
    run(node, script)


@pytest.mark.skipif("SEALPRESS_SANITIZED" in os.environ, reason="the shadow memory of ASan fills the address space")
def test_the_pin_is_never_a_python_object(node: Node) -> None:
    """After the login no bytes or text of the interpreter holds it, nor does the rest of the process."""
    script = """
token = opened()
def held():
    count = 0
    for line in open("/proc/self/maps"):
        span, access, rest = line.split(maxsplit=2)
        if "r" in access and "[v" not in rest:
            start, end = (int(part, 16) for part in span.split("-"))
            with open("/proc/self/mem", "rb", buffering=0) as memory:
                memory.seek(start)
                try: block = memory.read(end - start)
                except OSError: continue
            count += len(re.findall(rb"kit-user-pi[n]-7731", block))
    return count
before = held()
witness = "-".join(["kit", "user", "pin", "7731"]).encode()
assert (before, held() > 0) == (0, True)
"""
    run(node, script)


def test_a_second_module_is_refused(node: Node) -> None:
    """One process, one module; the same one again is fine."""
    script = """
token = opened()
p11.open_module(path)
try: p11.open_module("/usr/lib/other.so")
except CoreError as error: assert "one process, one module" in error.message, error.message
else: raise AssertionError
"""
    run(node, script)


@pytest.mark.parametrize(
    ("make", "name"),
    [("open('/dev/null').fileno()", "SP_E_PIN_FILE"), ("os.pipe()[0]", "SP_E_PIN_FILE"), ("-1", "SP_E_PIN_FILE")],
)
def test_a_pin_comes_from_a_file(node: Node, make: str, name: str) -> None:
    """Empty, a pipe, or closed: nothing is tried."""
    script = f"""
token = module.Token(module.TokenName(path, "", "", "kit"))
try: p11.login(token.open_session().handle, {make}, bytes(32))
except TokenError as error: assert (error.name, error.rv) == ({name!r}, 0), error
else: raise AssertionError
"""
    run(node, script)


@pytest.mark.parametrize("content", ["{pin}\\nnotes\\n", "{pin}\\n\\n", "{pin}\\r\\n", "\\n{pin}"])
def test_a_pin_is_the_only_line_of_its_file(node: Node, content: str) -> None:
    """A second line or a carriage return is no part of a PIN: nothing is tried, and the reason says why."""
    script = f"""
pin = (directory / "pin").read_text().strip()
written = directory / "lines"
written.write_bytes(f"{content}".encode())
token = module.Token(module.TokenName(path, "", "", "kit"))
try: token.login(str(written), bytes(32), ())
except CannotStart as error: told = error
assert told.reason == "PIN_FILE" and "line" in told.message and "only line" in told.hint, (told.message, told.hint)
written.write_bytes(pin.encode())
token.login(str(written), bytes(32), ())
"""
    run(node, script)


def test_a_memory_file_serves_as_well(node: Node) -> None:
    """A memfd, read again for each login; a PIN whose tag is among the rejected is not offered."""
    script = """
fd = os.memfd_create("pin")
os.write(fd, (directory / "pin").read_bytes())
token = module.Token(module.TokenName(path, "", "", "kit"))
session = token.open_session()
p11.login(session.handle, fd, bytes(32))
p11.login(session.handle, fd, bytes(32))
tag = hmac.digest(bytes(32), (directory / "pin").read_bytes().strip(), "sha256")
try: p11.login(session.handle, fd, bytes(32), [bytes(32), tag])
except TokenError as error: assert error.name == "SP_E_PIN_REJECTED"
else: raise AssertionError
"""
    run(node, script)


def test_the_header_lists_the_standards_functions() -> None:
    """68 functions in the order of CK_FUNCTION_LIST, by the places that others know."""
    names = shim.functions()

    assert len(names) == 68
    assert [names.index(name) for name in ("C_Initialize", "C_Login", "C_SignInit", "C_Sign")] == [0, 18, 42, 43]
    assert names[-1] == "C_WaitForSlotEvent"
