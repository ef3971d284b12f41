"""The PKCS#11 module of tests/native/shim: every call counted, faults injected on order, through one page of memory.

    with Shim(directory / "page", SOFTHSM, seed=7) as shim:
        ...start what loads built() in the environment shim.env...
        rule = shim.inject("C_Sign", answer(CKR_DEVICE_ERROR), burst(3))
        shim.hold_rate("C_Sign", 500)              # one engine for all sessions: 500 a second
        assert shim["C_Sign"] == 12 and rule.met == 3
        rule.remove()

Guarantees: an order holds for every call that begins after it was given, in every process that loads the module; which
calls a rule meets follows from the rule, its place in the table, the seed and the number of the call. Does not: order
the calls of several threads; take back what a rule has done.
"""

from __future__ import annotations

import atexit
import mmap
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests" / "native" / "shim"
_FUNCTIONS = 68
_RULES = 64
_SESSIONS = 64
_ANY = 0xFFFF_FFFF
_CERTAIN = 1 << 32
# shim_page and shim_rule of shim.h, which checks the same sizes
_HEAD = struct.Struct(f"<6Q{_FUNCTIONS}Q{_FUNCTIONS}Q{_SESSIONS}Q16x")
_SIGNS = struct.Struct(f"<{_SESSIONS}Q")
_RULE = struct.Struct("<4I8Q560s")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SEED, _RULES_USED, _INITIALIZE_FLAGS, _SESSIONS_OPEN = range(0, 32, 8)
_CALLS = 48
_FAILURES = _CALLS + 8 * _FUNCTIONS
_SIGNS_AT = _FAILURES + 8 * _FUNCTIONS
_SEEN, _MET = 56, 64  # in a rule


class Kind(IntEnum):
    """enum shim_kind of shim.h, which says what each does."""

    ANSWER = 1
    DELAY = 2
    RATE = 3
    HANG = 4
    CRASH = 5
    CORRUPT = 6
    REPEAT = 7
    REPLACE = 8
    LOGOUT = 9
    CLOSE_SESSIONS = 10
    FORGET_OBJECTS = 11
    NO_SLOTS = 12
    REVERSE_SLOTS = 13
    RENUMBER_SLOTS = 14
    SESSION_CAP = 15
    TOKEN_FLAGS = 16
    CROWD = 17
    COUNTER = 18
    ODD = 19


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call: made by the functions below, or as `Fault(Kind.LOGOUT)` where nothing is to be said."""

    kind: Kind
    value: int = 0
    after: bool = False
    data: bytes = b""


def answer(rv: int) -> Fault:
    """The call answers this CK_RV and never reaches the token."""
    return Fault(Kind.ANSWER, rv)


def lost_reply(rv: int) -> Fault:
    """The token does it, and the caller is told this CK_RV."""
    return Fault(Kind.ANSWER, rv, after=True)


def delay(milliseconds: float, *, after: bool = False) -> Fault:
    """The call takes so much longer; calls on other sessions go on."""
    return Fault(Kind.DELAY, round(1000 * milliseconds), after)


def rate(per_s: float) -> Fault:
    """The token has one engine for all sessions, which does so many a second."""
    return Fault(Kind.RATE, round(1e9 / per_s))


def crowd(milliseconds: float) -> Fault:
    """The token slows down with the square of the calls that it has at a time; this long if it has one."""
    return Fault(Kind.CROWD, round(1000 * milliseconds))


def crash(number: int = signal.SIGSEGV, *, after: bool = False) -> Fault:
    """The process dies of this signal."""
    return Fault(Kind.CRASH, number, after)


def corrupt(bit: int = 0) -> Fault:
    """One bit of the output is flipped."""
    return Fault(Kind.CORRUPT, bit)


def replace(output: bytes) -> Fault:
    """This is the output, whatever the token made; at most 560 bytes."""
    return Fault(Kind.REPLACE, len(output), data=output)


def session_cap(sessions: int) -> Fault:
    """For C_OpenSession: no more than so many in one process. For C_GetTokenInfo: the token says so."""
    return Fault(Kind.SESSION_CAP, sessions)


def token_flags(flags: int) -> Fault:
    """For C_GetTokenInfo: it shows these flags as well."""
    return Fault(Kind.TOKEN_FLAGS, flags)


def counter(attribute: int) -> Fault:
    """For C_GetAttributeValue: every object has this attribute, which says how many C_Sign succeeded."""
    return Fault(Kind.COUNTER, attribute, after=True)


def odd(attribute: int, value: bytes) -> Fault:
    """For C_GetAttributeValue: every object has this attribute, with this value, whatever its type is."""
    return Fault(Kind.ODD, attribute, after=True, data=value)


@dataclass(frozen=True, slots=True)
class When:
    """Which of the calls that a rule sees it meets: `skip` pass, then each `every`th by `chance`, `count` at most."""

    skip: int = 0
    every: int = 1
    chance: float = 1.0
    count: int = 0  # 0: for ever


ALWAYS = When()
ONCE = When(count=1)


def nth(number: int) -> When:
    """The call of this number alone, from 1."""
    return When(skip=number - 1, count=1)


def burst(count: int, skip: int = 0) -> When:
    """So many calls, after so many that pass."""
    return When(skip=skip, count=count)


class Rule:
    """A rule that is in force until it is removed."""

    def __init__(self, page: mmap.mmap, place: int, free: deque[int]) -> None:
        """Made by `Shim.inject`."""
        self._page = page
        self._place = place
        self._free = free
        self._at = _HEAD.size + place * _RULE.size
        self.in_force = True

    @property
    def seen(self) -> int:
        """Calls of its function since it is in force."""
        return int(_U64.unpack_from(self._page, self._at + _SEEN)[0])

    @property
    def met(self) -> int:
        """How many of them it has disturbed."""
        return int(_U64.unpack_from(self._page, self._at + _MET)[0])

    def remove(self) -> None:
        """It meets no more calls, and one that hangs in it goes on. A second time does nothing."""
        if self.in_force:
            _U32.pack_into(self._page, self._at, 0)
            self._free.append(self._place)
            self.in_force = False


class Shim:
    """What the shim saw and shall do, in every process that loads it with `env`."""

    def __init__(self, path: Path, module: str, *, seed: int = 0) -> None:
        """A fresh page; `module` is the real module."""
        size = _HEAD.size + _RULES * _RULE.size
        path.write_bytes(bytes(size))
        self.env = {"SEALPRESS_SHIM_PAGE": str(path), "SEALPRESS_SHIM_MODULE": module}
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), size)
        self._at = {name: position for position, name in enumerate(functions())}
        self._rules: list[Rule] = []
        self._orders = 0
        self._free = deque(range(_RULES))  # places in the table; the one that rested longest comes next
        _U64.pack_into(self._page, _SEED, seed)

    # ---- what it saw ----

    def __getitem__(self, function: str) -> int:
        """How often it was called: shim["C_Sign"]."""
        return int(_U64.unpack_from(self._page, _CALLS + 8 * self._at[function])[0])

    def failures(self, function: str) -> int:
        """How often the caller was told anything but CKR_OK."""
        return int(_U64.unpack_from(self._page, _FAILURES + 8 * self._at[function])[0])

    @property
    def signs(self) -> dict[int, int]:
        """How often C_Sign was called in each session that it was called in, by the session's number modulo 64."""
        return {number: calls for number, calls in enumerate(_SIGNS.unpack_from(self._page, _SIGNS_AT)) if calls}

    @property
    def initialize_flags(self) -> int:
        """Flags of the last C_Initialize; all ones if it had no arguments."""
        return int(_U64.unpack_from(self._page, _INITIALIZE_FLAGS)[0])

    @property
    def sessions_open(self) -> int:
        """Sessions of the process that opened or closed one last."""
        return int(_U64.unpack_from(self._page, _SESSIONS_OPEN)[0])

    # ---- what it shall do ----

    def inject(self, function: str | None, fault: Fault | Kind, when: When = ALWAYS) -> Rule:
        """From now on, until it is removed; `function` None is each of them. At most 64 at a time."""
        fault = Fault(fault) if isinstance(fault, Kind) else fault
        place = self._free.popleft()
        rule = Rule(self._page, place, self._free)
        target = _ANY if function is None else self._at[function]
        chance = round(when.chance * _CERTAIN)
        words = (0, target, fault.kind, fault.after, when.skip, when.every, chance, when.count, fault.value)
        at = _HEAD.size + place * _RULE.size
        _RULE.pack_into(self._page, at, *words, 0, 0, len(fault.data), fault.data)
        self._orders += 1
        _U32.pack_into(self._page, at, self._orders)
        (used,) = _U64.unpack_from(self._page, _RULES_USED)
        _U64.pack_into(self._page, _RULES_USED, max(used, place + 1))
        self._rules.append(rule)
        return rule

    def delay(self, function: str, milliseconds: float) -> Rule:
        """Each call of it takes so much longer from now on."""
        return self.inject(function, delay(milliseconds))

    def hold_rate(self, function: str, per_s: float) -> Rule:
        """All sessions together do no more than so many a second from now on."""
        return self.inject(function, rate(per_s))

    def clear(self) -> None:
        """Remove every rule."""
        for rule in self._rules:
            rule.remove()
        self._rules.clear()

    def close(self) -> None:
        """Let go of the page. The rules stay in force for those that still have it."""
        self._page.close()

    def __enter__(self) -> Shim:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the page."""
        self.close()


def functions() -> list[str]:
    """Names of the functions in the order of the table, from our own header."""
    text = (ROOT / "csrc" / "sp_pkcs11.h").read_text()
    return re.findall(r"^\s+X\((C_\w+),", text, re.MULTILINE)


@cache
def built() -> Path:
    """The shim, compiled once a run; the path to give as `module` of a slot."""
    place = Path(tempfile.mkdtemp(prefix="sp-shim-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    target = place / "libshim.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden"]
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run(["cc", *flags, f"-I{ROOT / 'csrc'}", "-o", str(target), *sources, "-ldl"], check=True)
    return target


def run(script: str, token: Path, env: Mapping[str, str], place: Path, *, code: int = 0) -> str:
    """Standard output of a script in a process of its own that ends with `code`; argv: token's folder, page, module."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(token), str(place / "page"), str(built())],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout
