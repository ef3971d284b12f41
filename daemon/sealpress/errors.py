"""Everything that can go wrong, sorted by what the receiver does next.

    SealpressError                 never raised itself
    ├── Refusal                    the caller is told: reason code, text, hint, maybe a retry delay
    │   ├── Malformed              fix the request (INVALID_ARGUMENT); counted, not recorded
    │   ├── NotPermitted           ask for the right (PERMISSION_DENIED); recorded
    │   ├── Precondition           something must happen first: a grant, an approval (FAILED_PRECONDITION); recorded
    │   ├── Conflict               same id, other fields (ALREADY_EXISTS)
    │   ├── OutcomeUnknown         ask again with a new id (ABORTED)
    │   ├── Busy                   come back after `retry_after_ms` (RESOURCE_EXHAUSTED)
    │   ├── Unavailable            come back after `retry_after_ms` (UNAVAILABLE)
    │   ├── TimedOut               the caller's deadline passed (DEADLINE_EXCEEDED)
    │   └── Internal               our bug; details stay in the log (INTERNAL)
    ├── ConfigError                a file or argument is wrong: exit 2
    ├── CannotStart                here and now it does not work (port, lock, module, token, PIN): exit 4
    ├── Damaged                    the log or node is damaged, or latched: exit 3
    ├── Invalid                    something offered does not verify: exit 1
    ├── TransportError             the client cannot reach or is not let in by the server
    └── CoreError                  the C core refused; `name` is its status
        ├── VersionError           a file is of a later format; `version` says of which
        └── TokenError             so did the PKCS#11 token; `rv` is its answer

Every error has a stable UPPER_SNAKE `reason`, a `message` for people, and a `hint` that says what to do.
"""

from __future__ import annotations


class SealpressError(Exception):
    """Root of the tree; never raised itself."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, hint: str = "") -> None:
        """Keep the text; `reason` overrides the class's own code."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        if reason is not None:
            self.reason = reason


class Refusal(SealpressError):
    """A request is not served; the caller gets reason, message and hint, never the rule."""

    def __init__(
        self, message: str, *, reason: str | None = None, hint: str = "", retry_after_ms: int = 0, event_id: str = ""
    ) -> None:
        """`retry_after_ms` 0 means: do not retry as it is. `event_id` names the record of the refusal, if any."""
        super().__init__(message, reason=reason, hint=hint)
        self.retry_after_ms = retry_after_ms
        self.event_id = event_id


class Malformed(Refusal):
    """The request itself is wrong: BAD_REQUEST, DIGEST_LENGTH, TOO_LARGE."""

    reason = "BAD_REQUEST"


class NotPermitted(Refusal):
    """Unknown line or line without right, one answer: NOT_PERMITTED, IDENTITY_AMBIGUOUS, CREDENTIAL_EXPIRED.

    Of tokens: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_AUDIENCE, TOKEN_LIFETIME, TOKEN_REPLAYED,
    ISSUER_UNKNOWN, OWNER_UNKNOWN, CLAIMS_INCOMPLETE.
    """

    reason = "NOT_PERMITTED"


class Precondition(Refusal):
    """Something must happen first: GRANT_REQUIRED, HELD, QUORUM_REQUIRED, KEY_NOT_ACTIVE, ILLEGAL_MOVE.

    `metadata` goes into ErrorInfo: the change to wait for, the approvals that are missing.
    """

    reason = "GRANT_REQUIRED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        hint: str = "",
        event_id: str = "",
        metadata: dict[str, str] | None = None,
    ) -> None:
        """No delay: people decide when."""
        super().__init__(message, reason=reason, hint=hint, event_id=event_id)
        self.metadata = metadata or {}


class Conflict(Refusal):
    """The request id was used for something else."""

    reason = "REQUEST_ID_REUSED"


class OutcomeUnknown(Refusal):
    """A direct signature may or may not exist."""

    reason = "OUTCOME_UNKNOWN"


class Busy(Refusal):
    """A bound is reached: QUEUE_FULL, SLOT_FULL, LOG_FULL, TOKENS_FULL, TOKEN_CHECKS."""

    reason = "QUEUE_FULL"


class Unavailable(Refusal):
    """A part is down for the moment: SLOT_DOWN, LOG_UNAVAILABLE, PARTIAL, ISSUER_DOWN."""

    reason = "SLOT_DOWN"


class TimedOut(Refusal):
    """The caller's time ran out: DEADLINE, HOLD_TIMEOUT."""

    reason = "DEADLINE"


class Internal(Refusal):
    """Our bug."""

    reason = "INTERNAL"


class ConfigError(SealpressError):
    """A configuration file, policy or argument is wrong (exit 2)."""

    reason = "CONFIG"


class CannotStart(SealpressError):
    """It does not work here and now: port, lock, module, token, PIN (exit 4)."""

    reason = "CANNOT_START"


class Damaged(SealpressError):
    """The log or node is damaged, or a sync failed (exit 3)."""

    reason = "DAMAGED"


class Invalid(SealpressError):
    """A proof, signature or log does not verify (exit 1)."""

    reason = "INVALID"


class TransportError(SealpressError):
    """No connection, or the handshake was refused (exit 1)."""

    reason = "TRANSPORT"


class CoreError(SealpressError):
    """The C core answered with a status other than SP_OK."""

    reason = "CORE"

    def __init__(self, status: int, name: str, message: str, system_errno: int = 0) -> None:
        """`status` and `name` as in csrc/sp_status.h."""
        super().__init__(message)
        self.status = status
        self.name = name
        self.system_errno = system_errno


class VersionError(CoreError):
    """A file was written by a release with a later format."""

    reason = "VERSION"

    def __init__(self, status: int, name: str, message: str, version: int) -> None:
        """`version` is the one that was found."""
        super().__init__(status, name, f"{message}: version {version}")
        self.version = version


class TokenError(CoreError):
    """A call that concerns a PKCS#11 token failed, before the token (`rv` 0) or in it."""

    reason = "TOKEN"

    def __init__(self, status: int, name: str, message: str, rv: int, tag: bytes = b"", system_errno: int = 0) -> None:
        """`rv` is the token's CKR_* value; `tag` stands for the PIN that was offered, if one was."""
        super().__init__(status, name, f"{message} (CKR 0x{rv:x})" if rv else message, system_errno)
        self.rv = rv
        self.tag = tag
