"""What the governing commands share: options, how a change is shown, how messages become JSON, `ssh-keygen`.

Guarantees: a signature is made by `ssh-keygen` of this machine, which asks for touch and PIN; no private key is read
here. Does not: decide what is signed (approve.py does).
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli import output
from sealpress.cli.output import emit, printable, reporting, say
from sealpress.client import load_client
from sealpress.client.control import ControlClient
from sealpress.errors import ConfigError, Invalid
from sealpress.reading import read_named

Reason = Annotated[str, typer.Option("--reason", help="Why, for those who decide and for auditors.")]
Risk = Annotated[str, typer.Option("--risk", help="What can go wrong by it, or without it.")]
Rollback = Annotated[str, typer.Option("--rollback", help="How it is taken back.")]
Ticket = Annotated[str, typer.Option("--ticket", help="Where it was discussed.")]
LineOption = Annotated[str, typer.Option("--line", help="organisation/product/region/environment/purpose")]
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="SSH key, or FIDO2 key handle, that `ssh-keygen -Y sign` signs with.")
]

_SIGN_S = 300  # a person looks for his token


@contextmanager
def connected(client: Path | None, *, as_json: bool) -> Iterator[ControlClient]:
    """The daemon, with errors told as every command tells them."""
    with reporting(as_json=as_json), ControlClient(load_client(client)) as daemon:
        yield daemon


def tell_change(change: Any, *, as_json: bool) -> None:
    """How far it has come."""
    if as_json:
        emit(plain(change))
        return
    say(printable(f"{change.kind}: {change.summary}"))
    if change.missing:
        say(f"  still missing: {printable(change.missing)}")
    if change.grant_id:
        say(printable(f"  grant {change.grant_id}"))
    how = f": sealpress approve {change.change_id} --key KEY" if change.state == "in_review" else ""
    say(printable(f"change {change.change_id} is {change.state}{how}"))


def plain(message: Any) -> Any:
    """A protobuf message as JSON has it: bytes that are text as text, others in hex; empty fields, too."""
    if isinstance(message, bytes):
        try:
            text = message.decode()
        except UnicodeDecodeError:
            return message.hex()
        return text if text.isprintable() or "\n" in text else message.hex()
    if not hasattr(message, "DESCRIPTOR"):
        return message
    told: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            told[field.name] = [plain(item) for item in value]
        elif field.type == field.TYPE_MESSAGE:
            told[field.name] = plain(value) if message.HasField(field.name) else None
        elif field.type == field.TYPE_BYTES and (field.name.endswith(("sha256", "key_id"))):
            told[field.name] = value.hex()
        else:
            told[field.name] = plain(value)
    return told


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Rows for people, in columns."""
    cells = [headings, *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def day(seconds: int) -> str:
    """A date; `-` for none."""
    return output.moment(seconds, "%Y-%m-%d") if seconds else "-"


def moment(text: str) -> int:
    """Unix seconds of `2026-11-23`, `2026-11-23T10:00:00Z`; ConfigError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time", hint="write 2026-11-23 or 2026-11-23T10:00:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def read(path: Path, what: str) -> bytes:
    """A file; ConfigError."""
    try:
        return read_named(path)
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from None


def sign_with(key: Path, namespace: str, message: bytes) -> str:
    """What `ssh-keygen -Y sign` makes of the message; it speaks with the person itself."""
    if not key.exists():
        raise ConfigError(f"--key {key}: no such file", hint="the private key, or the handle of a FIDO2 key")
    with tempfile.TemporaryDirectory(prefix="sealpress-sign-") as place:
        path = Path(place) / "statement"
        path.write_bytes(message)
        try:
            done = subprocess.run(
                ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key), str(path)],
                capture_output=True, text=True, check=False, timeout=_SIGN_S,
            )  # fmt: skip
        except FileNotFoundError:
            raise ConfigError("there is no ssh-keygen on this machine", hint="Debian: openssh-client") from None
        except subprocess.TimeoutExpired:
            raise Invalid("nobody touched the key in time", reason="NOT_SIGNED", hint="try again") from None
        if done.returncode:
            words = printable(done.stderr.strip())[-400:]
            raise Invalid(f"ssh-keygen did not sign: {words}", reason="NOT_SIGNED", hint="is the FIDO2 key plugged in?")
        return path.with_suffix(".sig").read_text()
