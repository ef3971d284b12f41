"""How every command speaks: tables and sentences for people, one JSON document with `--json`, and its exit code.

Exit codes (DESIGN 7): 0 good, 1 refused or invalid, 2 usage or configuration, 3 the log or node is damaged,
4 cannot start here and now.

Guarantees: a failure is one line on stderr (and `{"error": {...}}` on stdout with --json), with what to do.
Does not: decide what is good.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from sealpress.errors import CannotStart, ConfigError, Damaged, Malformed, Refusal, SealpressError

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
WIDTH = 400  # of a table in a file or a pipe
GOOD, REFUSED, USAGE, DAMAGED, CANNOT_START = range(5)


def named_path(text: str) -> Path:
    """A path that somebody gave; Path("") would be the folder where we are."""
    if not text:
        raise typer.BadParameter("an empty path; a variable that is not set?")
    return Path(text)


Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Files, or directories with all below.", parser=named_path),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ClientFile = Annotated[
    Path | None, typer.Option("--client", envvar="SEALPRESS_CLIENT", help="client.toml", show_default=False)
]


def emit(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Lines for people on stdout; nothing in them moves a terminal's cursor, whoever wrote it."""
    sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")


def followed(found: Iterator[T]) -> Iterator[T]:
    """What somebody follows: what is said of one is written before the next is waited for, into a pipe, too."""
    for one in found:
        yield one
        sys.stdout.flush()


def console() -> Console:
    """For tables: as wide as the terminal, and where nobody looks wide enough that nothing is cut."""
    from rich.console import Console  # only few commands show a table

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)


def exit_code(error: SealpressError) -> int:
    """By what the caller can do about it."""
    match error:
        case ConfigError():
            return USAGE
        case Damaged():
            return DAMAGED
        case CannotStart():
            return CANNOT_START
        case Malformed():
            return USAGE
        case _:
            return REFUSED


def printable(text: str) -> str:
    """One line without control characters, whoever wrote the text."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def moment(seconds: int, form: str) -> str:
    """Unix seconds in a form of strftime; as they are where no calendar goes, since whoever signs states any time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"second {seconds} since 1970"


def emit_error(error: SealpressError) -> None:
    """What is wrong and what to do, as the one document."""
    event_id = error.event_id if isinstance(error, Refusal) else ""
    message = error.message.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    body = {"reason": error.reason, "message": message, "hint": error.hint}
    emit({"error": body | ({"event_id": event_id} if event_id else {})})


def fail(error: SealpressError, *, as_json: bool, code: int | None = None) -> NoReturn:
    """Say what is wrong and what to do; leave with the exit code of the error, also where nobody hears it."""
    event_id = error.event_id if isinstance(error, Refusal) else ""
    tail = f" ({error.hint})" if error.hint else ""
    recorded = f" [recorded as {event_id}]" if event_id else ""
    sys.stderr.write(f"sealpress: {printable(f'{error.reason}: {error.message}{tail}{recorded}')}\n")
    code = exit_code(error) if code is None else code
    if as_json:
        try:
            emit_error(error)
        except OSError as lost:
            fail_at_system(lost, code=code)
    raise typer.Exit(code)


def fail_at_system(error: OSError, *, as_json: bool = False, code: int = GOOD) -> NoReturn:
    """The system did not let us do or write something; if that is standard output, no more is tried there.

    `code`: with which we were about to leave, and do unless all was good.
    """
    what = error.filename or "the output"
    told = CannotStart(f"{what}: {error.strerror}", reason="SYSTEM", hint="see to it, and try again")
    with suppress(OSError):
        if as_json and not isinstance(error, BrokenPipeError):
            emit_error(told)
    with suppress(OSError):
        sys.stdout.close()  # or it would be tried again when the interpreter ends
    if isinstance(error, BrokenPipeError):
        raise typer.Exit(code or REFUSED) from None
    fail(told, as_json=False, code=code or None)


@contextmanager
def reporting(*, as_json: bool) -> Iterator[None]:
    """Turn errors of the tree into messages and exit codes; Ctrl-C into 130. When it ends, everything is written."""
    code = GOOD
    try:
        try:
            with _telling(as_json=as_json):
                yield
        except typer.Exit as end:
            code = end.exit_code if end.exit_code > REFUSED else GOOD  # a verdict that is not written is none
            raise
        finally:
            if not sys.stdout.closed:
                sys.stdout.flush()
    except OSError as error:
        fail_at_system(error, as_json=as_json and code == GOOD, code=code)


@contextmanager
def _telling(*, as_json: bool) -> Iterator[None]:
    """The same but for what the system refuses."""
    try:
        yield
    except SealpressError as error:
        fail(error, as_json=as_json)
    except UnicodeEncodeError:
        wrong = ConfigError("an argument is not UTF-8", reason="USAGE", hint="only names of files may be other bytes")
        fail(wrong, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("sealpress: interrupted\n")
        raise typer.Exit(130) from None
