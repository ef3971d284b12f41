"""A question about a PKCS#11 module to a process of its own: a process has one module, and one that hangs is killed.

Guarantees: the process is hardened, is told everything on standard input, and ends without the module's exit handlers,
which may hang like the token that they belong to. Does not: keep the module from changing a token (what is asked
decides that).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec

from sealpress.core import p11
from sealpress.errors import CannotStart

ANSWER_S_MAX = 120

Question = TypeVar("Question", bound=msgspec.Struct)
Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """Why there is none, in words."""


def ask(name: str, question: msgspec.Struct, answer: type[Answer]) -> Answer:
    """What `python -m name` says to the question; NoAnswer if it fails, crashes or takes longer than ANSWER_S_MAX."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", name],
            input=msgspec.json.encode(question),
            capture_output=True,
            timeout=ANSWER_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"it did not answer within {ANSWER_S_MAX} s") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoAnswer(words[-1] if words else f"it ended with {done.returncode}")
    try:
        return msgspec.json.decode(done.stdout, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NoAnswer("it ended without an answer") from None


def answer(kind: type[Question], look: Callable[[Question], Any]) -> NoReturn:
    """The process's whole life: reads the question, answers it; what keeps it from doing so is its last word."""
    p11.harden_process()
    told = os.dup(1)
    os.dup2(2, 1)  # what a module prints is no answer
    try:
        found = look(msgspec.json.decode(sys.stdin.buffer.read(), type=kind))
    except CannotStart as error:
        sys.stderr.write(f"{error.reason}: {error.message}\n")
        sys.stderr.flush()
        os._exit(1)
    with os.fdopen(told, "wb") as answers:
        answers.write(msgspec.json.encode(found))
    os._exit(0)
