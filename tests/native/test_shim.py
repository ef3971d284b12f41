"""Does the PKCS#11 shim do to a caller what it was told, and nothing else? python-pkcs11 and the core call it.

Each question gets a process of its own, because a process has one module; the shim is ordered about from within it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kit import shim
from kit.signer import SOFTHSM, Node, make_node

TESTS = Path(__file__).resolve().parents[1]
PRELUDE = f"""
import hashlib, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
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
class Crowd:                    # threads with a session each: one pool of all would keep some idle on a slow token
    def __init__(self, sessions):
        self.pools = [p11.Pool([token.open_session().handle]) for _ in range(sessions)]
        self.threads = ThreadPoolExecutor(sessions)
    def sign(self, work):
        return [one for part in self.threads.map(lambda pool: pool.sign(work), self.pools) for one in part]
def seconds(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began
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


def run(node: Node, place: Path, script: str, code: int = 0, seed: int = 1) -> str:
    """Standard output of a script that ended so."""
    return shim.run(PRELUDE + script, node.directory, {**node.env, "SEED": str(seed)}, place, code=code)


def test_the_page_is_the_same_for_both_sides() -> None:
    """Kinds of faults and numbers of functions and rules in Python are those of the header."""
    text = (shim.SOURCES / "shim.h").read_text()
    kinds = {name: int(number) for name, number in re.findall(r"^    SHIM_(\w+) = (\d+),", text, re.MULTILINE)}

    assert {kind.name: kind.value for kind in shim.Kind} == kinds
    assert len(shim.functions()) == 68


def test_calls_pass_through_and_are_counted(node: Node, tmp_path: Path) -> None:
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
    run(node, tmp_path, script)


@pytest.mark.timing
def test_a_delay_is_each_calls_own(node: Node, tmp_path: Path) -> None:
    """Four sessions with 20 ms an operation do eight in two of them, one takes all eight; it ends with the rule."""
    script = """
four, one = Crowd(4), Crowd(1)
two, eight = jobs(session, 2), jobs(session, 8)
rule = shim.delay("C_Sign", 20)
took, alone = [], []
for _ in range(5):                      # in turns, so that a machine with other work keeps both up
    outcomes = []
    took.append(seconds(lambda: outcomes.extend(four.sign(two))))
    assert all(outcome.elapsed_ns >= 20e6 for outcome in outcomes)
    alone.append(seconds(lambda: one.sign(eight)))
assert min(took) >= 0.04 and min(alone) >= 0.16, (took, alone)
assert sum(took) < 7 / 8 * sum(alone), (took, alone)
rule.remove()
assert min(outcome.elapsed_ns for outcome in four.sign(two)) < 20e6
assert (rule.seen, rule.met, shim["C_Sign"]) == (80, 80, 88)
"""
    run(node, tmp_path, script)


@pytest.mark.timing
def test_a_rate_is_held_over_all_sessions(node: Node, tmp_path: Path) -> None:
    """Four sessions on an engine of 200 a second: 60 operations take 0.3 s, whatever the sleeps overshoot."""
    script = """
four, one = Crowd(4), Crowd(1)
fifteen, sixty = jobs(session, 15), jobs(session, 60)
took, alone = [], []
for _ in range(5):                      # in turns, so that a machine with other work keeps both up
    rule = shim.hold_rate("C_Sign", 200)
    took.append(seconds(lambda: four.sign(fifteen)))
    rule.remove()
    rule = shim.delay("C_Sign", 5)      # what 60 take where each sleep's overshoot adds to the next
    alone.append(seconds(lambda: one.sign(sixty)))
    rule.remove()
assert min(took) >= 0.3, took
assert sum(took) < 4 / 3 * sum(alone), (took, alone)
"""
    run(node, tmp_path, script)


def test_an_answer_keeps_the_call_from_the_token(node: Node, tmp_path: Path) -> None:
    """Any CK_RV for any function: the caller is told, the token hears nothing; all is well once the rule is spent."""
    script = """
key = private(session)
cases = [("C_SignInit", 0x30, DeviceError, lambda: sign(key)),
         ("C_Verify", 0x101, UserNotLoggedIn, lambda: good(session, bytes(64))),
         ("C_FindObjectsInit", 0xB3, SessionHandleInvalid, lambda: private(session)),
         ("C_OpenSession", 0xB1, CannotStart, token.open_session),
         ("C_Sign", 0x5, GeneralError, lambda: sign(private(token.open_session())))]
for function, rv, kind, call in cases:
    rule = shim.inject(function, answer(rv), ONCE)
    assert fails(kind, call), function
    assert (rule.seen, rule.met, shim.failures(function)) == (1, 1, 1)
fresh = token.open_session()                # the other's C_VerifyInit was never followed up
assert good(fresh, sign(private(fresh)))
"""
    run(node, tmp_path, script)


def test_a_rule_meets_the_calls_that_it_names(node: Node, tmp_path: Path) -> None:
    """The third; two after four; every third; for all functions; none when it is removed. Two rules add up."""
    script = """
def met(when, calls=12):
    rule = shim.inject("C_GenerateRandom", answer(0x30), when)
    found = [number for number in range(1, calls + 1) if fails(DeviceError, session.generate_random, 64)]
    rule.remove()
    assert (rule.seen, rule.met) == (calls, len(found))
    return found
assert met(nth(3)) == [3]
assert met(burst(2, skip=4)) == [5, 6]
assert met(When(every=3)) == [3, 6, 9, 12]
assert met(When(skip=1, every=2, count=2)) == [3, 5]
assert met(ALWAYS) == list(range(1, 13))
rules = [shim.inject(None, answer(0x30), ONCE), shim.inject("C_GenerateRandom", answer(0x5), ONCE)]
assert fails(DeviceError, session.generate_random, 64) and fails(GeneralError, session.generate_random, 64)
session.generate_random(64)
for _ in range(200): shim.inject("C_Sign", Kind.HANG).remove()      # the table never fills
"""
    run(node, tmp_path, script)


def test_chance_follows_from_the_seed(node: Node, tmp_path: Path) -> None:
    """The same seed, the same calls of 400; another seed, others; about as many as the chance says."""
    script = """
shim.inject("C_GenerateRandom", answer(0x30), When(chance=0.25))
print([number for number in range(400) if fails(DeviceError, session.generate_random, 64)])
"""
    first, again, other = (run(node, tmp_path, script, seed=seed) for seed in (1, 1, 2))

    assert first == again != other
    assert 60 < first.count(",") < 140


def test_a_lost_reply_comes_after_the_deed(node: Node, tmp_path: Path) -> None:
    """The token has signed, so its session takes another operation; where it never heard, the old one is in the way."""
    script = """
pool = p11.Pool([session.handle])
work = jobs(token.open_session(), 1)
for fault, then in ((lost_reply(0x30), 0), (answer(0x30), 0x90)):
    shim.inject("C_Sign", fault, ONCE)
    told, = pool.sign(work)
    assert (told.rv, told.signature) == (0x30, b"")
    pool.replace(0, session.handle)
    assert pool.sign(work)[0].rv == then
"""
    run(node, tmp_path, script)


def test_a_hang_is_one_calls_until_the_rule_goes(node: Node, tmp_path: Path) -> None:
    """One session hangs, the others sign; when the rule is removed it signs too."""
    script = """
pool = p11.Pool([token.open_session().handle for _ in range(2)])
work = jobs(session, 1)
rule = shim.inject("C_Sign", Kind.HANG, ONCE)
hung = []
thread = threading.Thread(target=lambda: hung.extend(pool.sign(work)))
thread.start()
while not rule.met: time.sleep(0.001)
assert all(outcome.rv == 0 for outcome in pool.sign(work * 50))
assert hung == []
rule.remove()
thread.join(10)
assert hung[0].rv == 0 and hung[0].elapsed_ns > 1e6
"""
    run(node, tmp_path, script)


@pytest.mark.parametrize(("fault", "code"), [("crash()", -11), ("crash(9, after=True)", -9)])
def test_a_crash_is_the_end_of_the_process(node: Node, tmp_path: Path, fault: str, code: int) -> None:
    """By the signal that was asked for, at the call that was named."""
    script = f"""
key = private(session)
shim.inject("C_Sign", {fault}, nth(2))
print(sign(key))
"""
    assert run(node, tmp_path, script, code) == ""


def test_outputs_are_spoiled(node: Node, tmp_path: Path) -> None:
    """One bit flipped, the first signature given again, or another one's bytes: none of them verifies."""
    script = """
key = private(session)
other = hashlib.sha256(b"other").digest()
whole = sign(key)
rule = shim.inject("C_Sign", corrupt(77))
assert not good(session, sign(key))
rule.remove()
rule = shim.inject("C_Sign", Kind.REPEAT)
first = sign(key)
assert good(session, first) and sign(key, other) == first and not good(session, first, other)
rule.remove()
shim.inject("C_Sign", replace(whole), nth(2))
assert sign(key, other) == whole
assert good(session, sign(key, other), other)
"""
    run(node, tmp_path, script)


def test_a_lost_login_is_lost_for_all_sessions(node: Node, tmp_path: Path) -> None:
    """At one call on one session; after another login the keys have other handles, and sign."""
    script = """
sessions = [token.open_session() for _ in range(2)]
keys = [private(one) for one in sessions]
shim.inject("C_SignInit", Kind.LOGOUT, ONCE)
assert all(fails(PKCS11Error, sign, key) for key in keys)
assert list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})) == []
token.login(str(directory / "pin"), bytes(32), ())
assert all(fails(PKCS11Error, sign, key) for key in keys)
assert all(good(one, sign(private(one))) for one in sessions)
assert shim["C_Login"] == 2
"""
    run(node, tmp_path, script)


def test_handles_become_invalid(node: Node, tmp_path: Path) -> None:
    """Those of objects: looked up again they are good. Those of sessions: all of the slot, and the login with them."""
    script = """
key = private(session)
shim.inject("C_SignInit", Kind.FORGET_OBJECTS, ONCE)
assert fails(ObjectHandleInvalid, sign, key) and fails(ObjectHandleInvalid, sign, key)
assert private(session).handle != key.handle
assert good(session, sign(private(session)))
assert shim.sessions_open == 2
shim.inject("C_SignInit", Kind.CLOSE_SESSIONS, ONCE)
assert fails(SessionHandleInvalid, sign, private(session)) and fails(SessionHandleInvalid, public, session)
assert shim.sessions_open == 0
again = opened()
assert good(again.open_session(), sign(private(again.open_session())))
"""
    run(node, tmp_path, script)


def test_slots_change(node: Node, tmp_path: Path) -> None:
    """None are left; their order turns; their numbers are others, and the old ones are refused."""
    script = """
library = pkcs11.lib(p11.own_path())
numbers = lambda: [slot.slot_id for slot in library.get_slots()]
before = numbers()
assert len(before) == 2
rule = shim.inject("C_GetSlotList", Kind.REVERSE_SLOTS)
assert numbers() == before[::-1]
rule.remove()
rule = shim.inject("C_GetSlotList", Kind.NO_SLOTS)
assert numbers() == [] and fails(CannotStart, opened)
rule.remove()
shim.inject("C_GetSlotList", Kind.RENUMBER_SLOTS, ONCE)
after = numbers()
assert set(after).isdisjoint(before) and len(after) == 2
assert fails(CannotStart, token.open_session)
assert good(session, sign(private(session)))            # what is open stays open
again = opened()
assert again.slot_id in after and good(again.open_session(), sign(private(session)))
"""
    run(node, tmp_path, script)


def test_the_token_shows_limits(node: Node, tmp_path: Path) -> None:
    """A number of sessions, which it keeps; a PIN that is about to lock, so that nobody shows it one."""
    script = """
for function in ("C_OpenSession", "C_GetTokenInfo"): shim.inject(function, session_cap(3))
assert token.sessions_max == 2
third = token.open_session()
assert fails(CannotStart, token.open_session) and shim.sessions_open == 3
third.close()
token.open_session()
shim.inject("C_GetTokenInfo", token_flags(TokenFlag.USER_PIN_FINAL_TRY))
assert fails(CannotStart, lambda: token.login(str(directory / "pin"), bytes(32), ()))
assert shim["C_Login"] == 1
"""
    run(node, tmp_path, script)


def test_a_module_without_locks_gets_one_thread(node: Node, tmp_path: Path) -> None:
    """CKR_CANT_LOCK at C_Initialize: the core tries again without the flag, and its pool refuses a second session."""
    script = """
p11.finalize()
shim.inject("C_Initialize", answer(0xA), ONCE)
session = opened().open_session()
assert p11.single_threaded() and shim.initialize_flags == 0
assert fails(Exception, p11.Pool, [session.handle, session.handle])
assert p11.Pool([session.handle]).sign(jobs(session, 1))[0].rv == 0
"""
    run(node, tmp_path, script)
