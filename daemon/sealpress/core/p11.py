"""The vendor's module and the signing loop, as the C core has them: thin, handles in, signatures out.

Guarantees: a PIN is read, used and wiped in C and is never a Python object; a job list is signed with the interpreter
free; each outcome says whether the token saw the job, and whether it may have signed. Does not: find slots or keys, nor
know what is signed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sealpress.core import _native
from sealpress.core._native import ffi, lib
from sealpress.core.status import check
from sealpress.errors import CoreError, TokenError

TAG_BYTES = 32
LATE = 0x50  # CKR_FUNCTION_CANCELED, of an outcome without session: the deadline passed before one was free
_UNTRIED = 0xFFFF_FFFF
_JOB = struct.Struct("@QQBPIPIIIBQQ")  # sp_p11_job, as the compiler lays it out
assert _JOB.size == ffi.sizeof("sp_p11_job")


class Job(NamedTuple):
    """One signature: key handle, CKM_*, parameter (0, or the digest algorithm of a PSS), its exact size, the data."""

    key: int
    mechanism: int
    parameter: int
    size: int
    data: bytes


class Outcome(NamedTuple):
    """`rv` 0: a signature. `session` None: the token never saw the job, for want of a session or of time (LATE).

    `may_have_signed` False: nor did it begin to sign, by its own answer, so that another session may.
    """

    signature: bytes
    rv: int
    session: int | None
    elapsed_ns: int
    may_have_signed: bool


class Attempt(NamedTuple):
    """What became of the one job of an ask that a desk tried, on a key of this generation."""

    generation: int
    outcome: Outcome


def own_path() -> str:
    """What python-pkcs11 is to load: this extension, which hands out the vendor's table with locking made sure."""
    return str(_native.__file__)


def open_module(path: str, reserved: str = "") -> None:
    """Load the vendor's module, once per process. CoreError SP_E_MODULE carries the loader's own words."""
    status = lib.sp_p11_open(path.encode(), reserved.encode() if reserved else ffi.NULL)
    try:
        check(status)
    except CoreError as error:
        if error.name != "SP_E_MODULE":
            raise
        text = ffi.string(lib.sp_p11_last_error()).decode(errors="replace")
        raise CoreError(error.status, error.name, text or error.message) from None


def initialize() -> None:
    """C_Initialize with locking; done already is done."""
    rv = ffi.new("uint64_t *")
    _answer(lib.sp_p11_initialize(rv), rv)


def finalize() -> None:
    """C_Finalize; SP_E_BUSY while a pool lives."""
    rv = ffi.new("uint64_t *")
    _answer(lib.sp_p11_finalize(rv), rv)


def single_threaded() -> bool:
    """Whether the module has no locks of its own, so that one session is all there may be."""
    return bool(lib.sp_p11_single_threaded())


def logged_in(session: int) -> bool:
    """Whether the session's token is logged in as user. TokenError if the session is none any more."""
    answer, rv = ffi.new("int *"), ffi.new("uint64_t *")
    _answer(lib.sp_p11_logged_in(session, answer, rv), rv)
    return bool(answer[0])


def token_flags(slot: int) -> tuple[int, int]:
    """CK_TOKEN_INFO.flags and ulMaxSessionCount of a slot."""
    flags, session_max, rv = ffi.new("uint64_t *"), ffi.new("uint64_t *"), ffi.new("uint64_t *")
    _answer(lib.sp_p11_token_flags(slot, flags, session_max, rv), rv)
    return int(flags[0]), int(session_max[0])


def login(session: int, pin_fd: int, tag_key: bytes, rejected: Sequence[bytes] = ()) -> None:
    """One C_Login as user, or none: SP_E_PIN_REJECTED and SP_E_TOKEN_LOCKED come before it.

    TokenError.tag is the PIN's tag, to be remembered if the token said that the PIN was wrong.
    """
    if len(tag_key) != TAG_BYTES or any(len(tag) != TAG_BYTES for tag in rejected):
        raise ValueError("tags and their key are 32 bytes")
    tag, rv = ffi.new("uint8_t[32]"), ffi.new("uint64_t *")
    status = lib.sp_p11_login(session, pin_fd, tag_key, b"".join(rejected), len(rejected), tag, rv)
    _answer(status, rv, tag)


def init_token(slot: int, label: str, so_pin_fd: int) -> None:
    """C_InitToken: everything on the token is lost."""
    rv = ffi.new("uint64_t *")
    _answer(lib.sp_p11_init_token(slot, label.encode(), so_pin_fd, rv), rv)


def init_pin(session: int, so_pin_fd: int, pin_fd: int) -> None:
    """Log in as security officer, set the user's PIN, log out."""
    rv = ffi.new("uint64_t *")
    _answer(lib.sp_p11_init_pin(session, so_pin_fd, pin_fd, rv), rv)


def harden_process() -> None:
    """No core dumps, no tracing by other processes, no new privileges."""
    check(lib.sp_harden_process())


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends."""
    check(lib.sp_die_with_parent(parent))


class Pool:
    """One C thread per session. Handles are of a generation, 0 until `retire` begins another."""

    def __init__(self, sessions: Sequence[int]) -> None:
        """Handles of open sessions that nobody else uses from now on; 0 for one that comes later (`replace`)."""
        out = ffi.new("sp_p11_pool **")
        check(lib.sp_p11_pool_new(list(sessions), len(sessions), out))
        self._pool = ffi.gc(out[0], lib.sp_p11_pool_free)
        self.count = len(sessions)
        self.generation = 0

    def sign(self, jobs: Sequence[Job], *, generation: int = 0, deadline_ns: int = 0) -> list[Outcome]:
        """Returns when all jobs are done or have failed; any number of threads may call.

        `deadline_ns`, of CLOCK_MONOTONIC: from then on no job is begun, and only those are waited for that the token
        has in hand. Keys of another generation: all untried.
        """
        return self._done(jobs, lambda *asked: lib.sp_p11_pool_sign(self._pool, generation, deadline_ns, *asked))

    def refresh(self, jobs: Sequence[Job], idle_ns: int, *, generation: int = 0, deadline_ns: int = 0) -> list[Outcome]:
        """One job on each session that is at rest and was not used for so long, beside what others have them do.

        The outcomes are of the first jobs, as many as there were such sessions, and time; the others were not needed.
        """
        outcomes = self._done(
            jobs, lambda *asked: lib.sp_p11_pool_refresh(self._pool, generation, idle_ns, deadline_ns, *asked)
        )
        return [outcome for outcome in outcomes if outcome.session is not None]

    def _done(self, jobs: Sequence[Job], call: Callable[[Any, int], int]) -> list[Outcome]:
        """What became of them; `call` gives them to the core."""
        if not jobs:
            return []
        # Packed and unpacked as bytes: field by field through cffi would cost more than the rest of this.
        data, signatures = b"".join([job.data for job in jobs]), bytearray(sum([job.size for job in jobs]) or 1)
        array = bytearray(_JOB.size * len(jobs))
        source, target = _address(data), _address(signatures)
        read, written = source, target
        for number, job in enumerate(jobs):
            _JOB.pack_into(
                array, _JOB.size * number,
                job.key, job.mechanism, job.parameter, read, len(job.data), written, job.size, 0, _UNTRIED, 0, 0, 0,
            )  # fmt: skip
            read += len(job.data)
            written += job.size
        asked = ffi.from_buffer("sp_p11_job[]", array)
        check(call(asked, len(jobs)))
        made = memoryview(signatures)
        return [
            Outcome(
                made[at - target : at - target + size].tobytes(),
                rv,
                None if session == _UNTRIED else session,
                elapsed_ns,
                may_have_signed != 0,
            )
            for _, _, _, _, _, at, _, size, session, may_have_signed, rv, elapsed_ns in _JOB.iter_unpack(array)
        ]

    def alive(self) -> list[bool]:
        """Per session, whether it still may be used."""
        return [state == lib.SP_P11_SEAT_ALIVE for state in self._seats()]

    @property
    def living(self) -> int:
        """How many sessions still may be used."""
        return int(lib.sp_p11_pool_seats(self._pool, ffi.NULL))

    def dead(self) -> list[int]:
        """Positions whose session may be closed and replaced: no thread has it in the token's hands any more."""
        return [position for position, state in enumerate(self._seats()) if state == lib.SP_P11_SEAT_DEAD]

    def _seats(self) -> bytes:
        states = ffi.new("uint8_t[]", self.count)
        lib.sp_p11_pool_seats(self._pool, states)
        return bytes(ffi.buffer(states))

    @property
    def limit(self) -> int:
        """How many sessions work at a time: fewer than there are if more of them only slow the token down."""
        return int(lib.sp_p11_pool_limit(self._pool))

    def replace(self, position: int, session: int, *, generation: int = 0) -> None:
        """Put a fresh session in a dead one's place. CoreError SP_E_BUSY, or SP_E_MISMATCH for another generation."""
        check(lib.sp_p11_pool_replace(self._pool, position, session, generation))

    def retire(self) -> int:
        """The next generation: sessions and keys so far are used no more, and jobs that wait come back untried."""
        self.generation = int(lib.sp_p11_pool_retire(self._pool))
        return self.generation

    def close(self) -> None:
        """End the threads; waits for the jobs in hand."""
        ffi.release(self._pool)


class Desk:
    """Where threads wait for a worker's packets: an ask for one signature is answered in C, all else comes out."""

    def __init__(self, pool: Pool, offered: Sequence[int]) -> None:
        """`offered`: mechanisms that the token has. Keys of a generation, as `keys` tells them."""
        out = ffi.new("sp_p11_desk **")
        check(lib.sp_p11_desk_new(pool._pool, list(offered), len(offered), out))
        self._pool = pool  # for as long as the desk
        self._desk = ffi.gc(out[0], lib.sp_p11_desk_free)

    def keys(self, generation: int, handles: Sequence[int]) -> None:
        """From now on keys are these, by their numbers. An ask of one from SP_P11_DESK_KEYS on comes out as it came."""
        some = list(handles[: lib.SP_P11_DESK_KEYS])
        check(lib.sp_p11_desk_keys(self._desk, generation, some, len(some)))

    def serve(self, socket: int, packet: bytearray, margin_ns: int) -> tuple[int, Attempt | None]:
        """The size of the next packet that is not answered here, 0 at the end; what its ask came to, if it was tried.

        `margin_ns` before its deadline no ask is begun. CoreError if the socket fails. Any number of threads.
        """
        size, job, generation = ffi.new("size_t *"), ffi.new("sp_p11_job *"), ffi.new("uint64_t *")
        held = ffi.from_buffer("uint8_t[]", packet)
        check(lib.sp_p11_desk_serve(self._desk, socket, margin_ns, held, len(packet), size, job, generation))
        if job.session == _UNTRIED:
            return int(size[0]), None
        outcome = Outcome(b"", int(job.rv), int(job.session), int(job.elapsed_ns), job.may_have_signed != 0)
        return int(size[0]), Attempt(int(generation[0]), outcome)

    @property
    def signed(self) -> int:
        """How many asks it answered."""
        return int(lib.sp_p11_desk_signed(self._desk))

    @property
    def busy(self) -> int:
        """How many threads have an ask in hand."""
        return int(lib.sp_p11_desk_busy(self._desk))


def _address(data: bytes | bytearray) -> int:
    """Where it stands, for as long as it lives and keeps its size."""
    return int(ffi.cast("uintptr_t", ffi.from_buffer(data)))


def _answer(status: int, rv: Any, tag: Any = None) -> None:
    try:
        check(status)
    except CoreError as error:
        seen = bytes(ffi.buffer(tag)) if tag is not None else b""
        raise TokenError(error.status, error.name, error.message, int(rv[0]), seen, error.system_errno) from None
