"""The login of a process at its token, with the PIN of a file that only the core reads.

Guarantees: a PIN that was rejected once is not shown again. Does not: hold a PIN, or find the token (module.py).
"""

from __future__ import annotations

import os

from sealpress.core import p11
from sealpress.errors import CannotStart, TokenError

# What a token answers when the PIN it was shown is not its PIN: incorrect, invalid, length, expired.
PIN_ANSWERS = frozenset({0xA0, 0xA1, 0xA2, 0xA3})
_PIN_LOCKED = 0xA4  # by whomever; says nothing of the PIN, which may be the right one


class PinRefused(CannotStart):
    """The token rejected the PIN; `tag` is what to remember it by."""

    reason = "PIN_REJECTED"

    def __init__(self, message: str, *, tag: bytes, hint: str) -> None:
        """`tag` as of core.p11.login."""
        super().__init__(message, hint=hint)
        self.tag = tag


def login(session: int, pin_file: str, tag_key: bytes, rejected: tuple[bytes, ...] = ()) -> None:
    """Log the process in. PinRefused, or CannotStart: PIN_FILE, TOKEN_LOCKED, TOKEN_FAILED."""
    try:
        descriptor = os.open(pin_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise CannotStart(
            f"{pin_file}: {error.strerror}", reason="PIN_FILE", hint="`pin_file` holds the PIN, readable by the signer"
        ) from None
    hint = "write the right PIN into the file; a PIN that was rejected once is not tried again"
    try:
        p11.login(session, descriptor, tag_key, rejected)
    except TokenError as error:
        if error.name == "SP_E_TOKEN" and error.rv in PIN_ANSWERS:
            raise PinRefused("the token rejected the PIN", tag=error.tag, hint=hint) from None
        if error.name == "SP_E_PIN_REJECTED":
            raise PinRefused(error.message, tag=error.tag, hint=hint) from None
        if error.name == "SP_E_TOKEN_LOCKED" or (error.name == "SP_E_TOKEN" and error.rv == _PIN_LOCKED):
            raise CannotStart(
                error.message, reason="TOKEN_LOCKED", hint="have the PIN reset, or log in once by hand"
            ) from None
        if error.name in {"SP_E_PIN_FILE", "SP_E_PIN_LINES"}:
            raise CannotStart(
                f"{pin_file}: {error.message}",
                reason="PIN_FILE",
                hint="it must be a file (no pipe) with the PIN as its only line, 1 to 256 bytes, no carriage return",
            ) from None
        raise CannotStart(f"login: {error.message}", reason="TOKEN_FAILED", hint="see the token's own log") from None
    finally:
        os.close(descriptor)
