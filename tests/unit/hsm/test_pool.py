"""Does a slot's pool come back from what a token forgets, without a second login and without a second signature?

Each question gets a process of its own, with the pool on a token behind the shim, ordered about from within.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import shim
from kit.signer import SOFTHSM, Node, make_node

TESTS = Path(__file__).resolve().parents[2]
PRELUDE = f"""
import hashlib, os, sys, threading, time
from collections import Counter
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from kit.shim import *
from sealpress.clock import SystemClock
from sealpress.hsm.work import WorkerJob, WorkerKey, WorkerOpen
from sealpress.hsm.pool import SlotPool
from sealpress.hsm.signatures import Ecdsa
from sealpress.verify.note import canonical_spki
directory, page, path = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
shim = Shim(page, {SOFTHSM!r})
os.environ.update(shim.env)
PEM = (directory / "keys" / "p256.pem").read_bytes()
DIGEST = hashlib.sha256(b"x").digest()
SCHEME = Ecdsa(load_pem_public_key(PEM))
JOB = SCHEME.job("p256", 1, DIGEST)
told = []
def opened(sessions=4):
    key = WorkerKey("p256", b"\\xa0", "p256", canonical_spki(PEM))
    pin = str(directory / "pin")
    pool = SlotPool(WorkerOpen("s1", path, "", "", "kit", pin, sessions, bytes(32), (), (key,)), SystemClock())
    pool.start(lambda: told.append((pool.sessions, pool.lost)))
    return pool
def within(seconds): return time.monotonic_ns() + round(seconds * 1e9)
def good(results):
    return all(one.rv == 0 and one.tried and SCHEME.finish(1, DIGEST, one.signature) for one in results)
def under_load(pool, seconds, callers=6):
    results, until = [], time.monotonic() + seconds
    def work():
        while time.monotonic() < until: results.extend(pool.sign([JOB] * 5, within(5)))
    threads = [threading.Thread(target=work) for _ in range(callers)]
    [thread.start() for thread in threads]; [thread.join() for thread in threads]
    return results
def settled(pool, sessions=4):
    until = time.monotonic() + 5
    while (pool.sessions, shim.sessions_open) != (sessions, sessions + 1) and time.monotonic() < until: time.sleep(0.01)
    return (pool.sessions, shim.sessions_open) == (sessions, sessions + 1)
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A provisioned token."""
    return make_node(tmp_path_factory.mktemp("pool") / "n", keys={"p256": ("p256", "main", "direct", "ecdsa-der")})


def run(node: Node, place: Path, script: str) -> None:
    """Run a script that must end well."""
    shim.run(PRELUDE + script, node.directory, node.env, place)


@pytest.mark.parametrize(
    ("fault", "logins"),
    [
        ("Kind.LOGOUT", 1),
        ("Kind.CLOSE_SESSIONS", 1),
        ("Kind.FORGET_OBJECTS", 0),
        ("answer(0x101)", 1),
        ("answer(0x60)", 0),
        ("answer(0xB3)", 0),
    ],
)
def test_a_lost_login_makes_one_login(node: Node, tmp_path: Path, fault: str, logins: int) -> None:
    """Under load, whatever is lost: one C_Login if it was the login, none else, and no job hears of it."""
    script = f"""
pool = opened()
shim.inject("C_SignInit", {fault}, nth(60))
results = under_load(pool, 0.4)
assert good(results), Counter((one.rv, one.tried) for one in results)
assert len(results) > 100 and shim["C_Login"] == 1 + {logins}, (len(results), shim["C_Login"])
assert settled(pool), (pool.sessions, shim.sessions_open)
assert shim["C_Sign"] - shim.failures("C_Sign") == len(results)
"""
    run(node, tmp_path, script)


def test_a_login_lost_in_mid_operation_is_tried_again(node: Node, tmp_path: Path) -> None:
    """Between C_SignInit and C_Sign: the token says that it never began, and another session signs."""
    script = """
pool = opened()
shim.inject("C_Sign", Kind.LOGOUT, nth(40))
results = under_load(pool, 0.3)
assert {one.rv for one in results if one.rv} <= {0x5, 0x30}, Counter(one.rv for one in results)
assert sum(one.rv != 0 for one in results) <= 4
assert shim["C_Login"] == 2 and settled(pool)
"""
    run(node, tmp_path, script)


def test_what_may_be_signed_is_not_tried_again(node: Node, tmp_path: Path) -> None:
    """An error of C_Sign, before or after the deed, ends the job: once at the token, and its outcome is unknown."""
    script = """
pool = opened()
for fault in (answer(0x30), lost_reply(0x30), answer(0x5), lost_reply(0xB0)):
    before = shim["C_Sign"]
    shim.inject("C_Sign", fault, ONCE)
    result, = pool.sign([JOB])
    assert result.tried and result.rv == fault.value and not result.signature
    assert shim["C_Sign"] == before + 1
    assert good(pool.sign([JOB] * 20)) and settled(pool)
assert shim["C_Login"] == 1
"""
    run(node, tmp_path, script)


def test_one_more_try_and_no_third(node: Node, tmp_path: Path) -> None:
    """A token that begins nothing is asked twice for a job; its answer then is that of the second."""
    script = """
pool = opened(2)
rule = shim.inject("C_SignInit", answer(0x6), burst(2))
result, = pool.sign([JOB], within(5))
assert (result.rv, result.tried, rule.met) == (0x6, False, 2)
assert good(pool.sign([JOB], within(5))) and shim["C_Sign"] == 1
"""
    run(node, tmp_path, script)


def test_a_job_that_is_late_is_not_begun(node: Node, tmp_path: Path) -> None:
    """While every session hangs: answered at the deadline as not tried, and the token never hears of it."""
    script = """
pool = opened(2)
hang = shim.inject("C_Sign", Kind.HANG)
threads = [threading.Thread(target=pool.sign, args=([JOB],)) for _ in range(2)]
[thread.start() for thread in threads]
while hang.met < 2: time.sleep(0.001)
began = time.monotonic()
results = pool.sign([JOB] * 3, within(0.3))
assert 0.25 < time.monotonic() - began < 1
assert all((one.rv, one.tried) == (0x50, False) for one in results)
assert {one.rv for one in pool.sign([JOB], time.monotonic_ns())} == {0x50}
hang.remove()
[thread.join() for thread in threads]
assert shim["C_Sign"] == 2 and good(pool.sign([JOB] * 3, within(5)))
"""
    run(node, tmp_path, script)


def test_each_idle_session_is_used_once_and_a_lost_one_is_mended(node: Node, tmp_path: Path) -> None:
    """Those that were at work lately need it not; of one that the token forgot meanwhile nobody hears."""
    script = """
pool = opened()
time.sleep(0.3)
assert good([*pool.refresh([JOB] * 4, 10**8, within(5)), *pool.sign([JOB], within(5))]) and len(shim.signs) == 4
assert pool.refresh([JOB] * 4, 60 * 10**9, within(5)) == () and shim["C_Sign"] == 5
time.sleep(0.3)
assert good(pool.sign([JOB], within(5)))
shim.inject("C_SignInit", answer(0xB3), ONCE)
results = pool.refresh([JOB] * 4, 10**8, within(5))
assert len(results) == 3 and good(results) and settled(pool) and shim["C_Login"] == 1
assert shim["C_Sign"] == 9
"""
    run(node, tmp_path, script)


def test_a_full_token_is_no_error(node: Node, tmp_path: Path) -> None:
    """Fewer sessions than configured, by its word or by its deeds: jobs wait for those that there are."""
    script = """
told = shim.inject("C_GetTokenInfo", session_cap(3))
assert opened().sessions == 2 and shim.sessions_open == 3
"""
    run(node, tmp_path, script)
    script = """
cap = shim.inject("C_OpenSession", session_cap(3))
pool = opened()
assert pool.sessions == 2 and good(under_load(pool, 0.2))
cap.remove()
assert settled(pool) and good(pool.sign([JOB] * 20))
assert told and told[-1] == (4, None)
"""
    run(node, tmp_path, script)


def test_a_wrong_pin_at_a_later_login_is_the_end(node: Node, tmp_path: Path) -> None:
    """The token rejects it: one try, jobs come back untried, and the reason carries the tag to remember."""
    script = """
pool = opened()
shim.inject("C_Login", answer(0xA0))
shim.inject("C_SignInit", Kind.LOGOUT, ONCE)
results = under_load(pool, 0.2)
bad = [one for one in results if one.rv]
assert bad and not any(one.tried for one in bad)
assert shim["C_Login"] == 2 and pool.lost.reason == "PIN_REJECTED" and len(pool.lost.tag) == 32
assert told[-1] == (0, pool.lost)
"""
    run(node, tmp_path, script)


def test_a_token_about_to_lock_is_left_alone(node: Node, tmp_path: Path) -> None:
    """FINAL_TRY or LOCKED among its flags when the login is lost: no C_Login, and a reason that a person reads."""
    script = """
pool = opened()
shim.inject("C_GetTokenInfo", token_flags(0x20000))
shim.inject("C_SignInit", Kind.LOGOUT, ONCE)
pool.sign([JOB], within(2))
assert shim["C_Login"] == 1 and pool.lost.reason == "TOKEN_LOCKED"
"""
    run(node, tmp_path, script)


@pytest.mark.parametrize("fault", ["answer(0x190)", "Kind.HANG"])
def test_what_only_a_new_process_mends(node: Node, tmp_path: Path, fault: str) -> None:
    """A module that forgot its initialisation is given up within a second; one that hangs is seen to be stuck."""
    script = f"""
import sealpress.hsm.pool
sealpress.hsm.pool._MENDING_NS_MAX = 200_000_000
pool = opened()
shim.inject("C_GetSessionInfo", {fault})
shim.inject("C_SignInit", answer(0x190))
began = time.monotonic()
result, = pool.sign([JOB], within(1))
assert not result.tried and time.monotonic() - began < 1.5
assert pool.stuck if {fault!r} == "Kind.HANG" else pool.lost.reason == "TOKEN_FAILED" and not pool.sessions
os._exit(0)
"""
    run(node, tmp_path, script)


def test_a_module_without_locks_gets_one_session(node: Node, tmp_path: Path) -> None:
    """CKR_CANT_LOCK: whatever is configured, one thread, and callers of any number of threads are served by it."""
    script = """
from sealpress.core import p11
shim.inject("C_Initialize", answer(0xA), ONCE)
pool = opened()
assert (p11.single_threaded(), pool.sessions, shim.sessions_open) == (True, 1, 2)
assert good(under_load(pool, 0.2))
"""
    run(node, tmp_path, script)


@pytest.mark.parametrize("call", ["p11.token_flags(pool.token.slot_id)", "pool.token.private_keys(1)"])
def test_a_module_without_locks_is_entered_by_one_thread_at_a_time(node: Node, tmp_path: Path, call: str) -> None:
    """CKR_CANT_LOCK: while one thread signs no other is let in, be it through the core or through python-pkcs11."""
    script = f"""
from sealpress.core import p11
shim.inject("C_Initialize", answer(0xA), ONCE)
pool = opened()
signing = shim.inject("C_Sign", Kind.HANG)
results = []
first = threading.Thread(target=lambda: results.extend(pool.sign([JOB])))
second = threading.Thread(target=lambda: {call})
first.start()
while not signing.met: time.sleep(0.001)
calls = shim["C_GetTokenInfo"], shim["C_FindObjectsInit"]
second.start()
second.join(0.3)
waits = second.is_alive() and calls == (shim["C_GetTokenInfo"], shim["C_FindObjectsInit"])
signing.remove()
first.join(5); second.join(5)
assert waits and not second.is_alive() and good(results) and len(results) == 1
"""
    run(node, tmp_path, script)


def test_the_anchor_is_the_menders(node: Node, tmp_path: Path) -> None:
    """What others want of it is done by the mender, between mends; a fault comes first."""
    script = """
pool = opened()
done = []
pool.chore(lambda: done.append((threading.current_thread().name, shim["C_Login"])))
while not done: time.sleep(0.001)
assert done == [("mender", 1)]
shim.inject("C_SignInit", Kind.LOGOUT, ONCE)
shim.delay("C_Login", 100)
threading.Timer(0.05, pool.chore, (lambda: done.append(pool.sign([JOB])[0].rv),)).start()
assert good(pool.sign([JOB], within(5)))
while len(done) < 2: time.sleep(0.001)
assert done[1] == 0 and shim["C_Login"] == 2
"""
    run(node, tmp_path, script)


@pytest.mark.timing
def test_a_slow_opening_keeps_nobody(node: Node, tmp_path: Path) -> None:
    """Half a second for each C_OpenSession: the first sessions serve while others are opened, at a start and later."""
    script = """
shim.delay("C_OpenSession", 500)
pool = opened()
assert pool.sessions < 4 and good(pool.sign([JOB] * 4, within(5))) and settled(pool)
shim.inject("C_SignInit", Kind.LOGOUT, ONCE)
began = time.monotonic()
assert good(pool.sign([JOB] * 4, within(5)))
assert time.monotonic() - began < 1.2
assert settled(pool)
"""
    run(node, tmp_path, script)


def test_a_slot_may_hold_more_keys_than_the_desk_serves(node: Node, tmp_path: Path) -> None:
    """Those beyond its table sign as well: their asks are answered by the interpreter."""
    script = """
spki = canonical_spki(PEM)
keys = tuple(WorkerKey(f"p256-{at}", b"\\xa0", "p256", spki) for at in range(1_100))
pin = str(directory / "pin")
pool = SlotPool(WorkerOpen("s1", path, "", "", "kit", pin, 1, bytes(32), (), keys), SystemClock())
pool.start(lambda: None)
assert good(pool.sign([SCHEME.job(f"p256-{at}", 1, DIGEST) for at in (0, 1_023, 1_024, 1_099)], within(5)))
"""
    run(node, tmp_path, script)
