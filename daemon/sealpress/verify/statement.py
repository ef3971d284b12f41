"""The statement: the few lines of text that an approver reads and signs (GOVERNANCE 5).

One field per line, in one order, UTF-8 and LF; a field that is empty reads `-`; `note`, the only free text, comes last
and only if there is one. All but person, step, checkpoint, nonce, times and note follow from the change record.

Guarantees: `parse(render(statement)) == statement`, and no other bytes give that statement; what stands in it is
printable, so that a terminal shows what is signed. Does not: check whether it is true (approval.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from sealpress.errors import Invalid
from sealpress.verify.change import ChangeRecord

NAMESPACE = "approval@v1.sealpress"
STATEMENT_BYTES_MAX = 4_096
NOTE_MAX = 512
_TITLE = "sealpress approval v1"
_TIME_END = 253_402_300_800  # the year 10000


@dataclass(frozen=True, slots=True)
class Statement:
    """The fields in their order. Times are Unix seconds."""

    deployment: str
    log: str
    change_id: str
    change_kind: str
    change_sha256: str
    policy_sha256: str
    seen_size: int
    seen_root: bytes  # 32
    line: str
    summary: str
    decision: str
    step: str  # <n>/<quorum> <path>
    person: str
    nonce: str  # 32 hex digits
    issued: int
    expires: int
    note: str = ""


_NOTHING = "-"
_LABELS = {
    "seen-checkpoint" if field.name == "seen_root" else field.name.replace("_", "-"): field.name
    for field in fields(Statement)
    if field.name not in ("seen_size", "note")
}
_WRITE: dict[str, Callable[[Statement], str]] = {
    "seen_root": lambda s: f"{s.seen_size} {base64.b64encode(s.seen_root).decode()}",
    "issued": lambda s: _time(s.issued),
    "expires": lambda s: _time(s.expires),
}


def ask(
    change: ChangeRecord,
    person: str,
    step: int,
    seen_size: int,
    seen_root: bytes,
    nonce: str,
    issued: int,
    expires: int,
    note: str = "",
) -> Statement:
    """The statement with which this person approves this change, as the `step`-th of its quorum."""
    return Statement(
        deployment=change.deployment,
        log=change.log,
        change_id=change.change_id,
        change_kind=change.kind,
        change_sha256=change.sha256,
        policy_sha256=change.policy_sha256,
        seen_size=seen_size,
        seen_root=seen_root,
        line=change.line,
        summary=change.summary,
        decision="approve",
        step=f"{step}/{needed(change)} {change.required.path}",
        person=person,
        nonce=nonce,
        issued=issued,
        expires=expires,
        note=note,
    )


def needed(change: ChangeRecord) -> int:
    """How many persons must approve; one more for a release whose creator nobody could name (GR-30)."""
    unnamed = change.kind == "sign.release" and not change.creator_person
    return change.required.quorum + (1 if unnamed else 0)


def render(statement: Statement) -> bytes:
    """The bytes to sign; Invalid APPROVAL_STATEMENT if a field cannot stand there."""
    s = statement
    if not 0 <= s.seen_size < 1 << 63 or len(s.seen_root) != 32:
        raise _invalid("a checkpoint is a size and a root of 32 bytes")
    if not re.fullmatch(r"[0-9a-f]{32}", s.nonce) or len(s.note) > NOTE_MAX:
        raise _invalid(f"a nonce has 32 hex digits, a note at most {NOTE_MAX} characters")
    values = [_WRITE[name](s) if name in _WRITE else _plain(name, getattr(s, name)) for name in _LABELS.values()]
    lines = [f"{label}: {value}" for label, value in zip(_LABELS, values, strict=True)]
    if s.note:
        lines.append(f"note: {_plain('note', s.note)}")
    raw = "\n".join([_TITLE, *lines, ""]).encode()
    if len(raw) > STATEMENT_BYTES_MAX:
        raise _invalid(f"a statement is at most {STATEMENT_BYTES_MAX} bytes")
    return raw


def parse(raw: bytes) -> Statement:
    """A statement from its only bytes; Invalid APPROVAL_STATEMENT for any others."""
    if len(raw) > STATEMENT_BYTES_MAX:
        raise _invalid(f"a statement is at most {STATEMENT_BYTES_MAX} bytes")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError:
        raise _invalid("a statement is UTF-8 text") from None
    labels = [*_LABELS, "note"][: len(lines) - 2]
    if lines[0] != _TITLE or lines[-1] or len(lines) - 2 not in (len(_LABELS), len(_LABELS) + 1):
        raise _invalid(f"a statement is {_TITLE!r} and {len(_LABELS)} lines, or one more with a note")
    values: dict[str, str] = {}
    for label, line in zip(labels, lines[1:-1], strict=True):
        if not line.startswith(f"{label}: "):
            raise _invalid(f"here a statement says {label!r}, not {line[:40]!r}")
        value = line[len(label) + 2 :]
        values[_LABELS.get(label, label)] = "" if value == _NOTHING else value
    statement = _read(values)
    if render(statement) != raw:
        raise _invalid("a statement has one spelling of each number, time and digest")
    return statement


def _plain(name: str, value: str) -> str:
    if value == _NOTHING or value != value.strip() or not value.isprintable():
        raise _invalid(f"{name} is not plain printable text on one line: {value[:80]!a}")
    return value or _NOTHING


def _time(seconds: int) -> str:
    if not 0 <= seconds < _TIME_END:
        raise _invalid("a time lies between 1970 and 9999")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(values: dict[str, str]) -> Statement:
    size, _, root = values.pop("seen_root").partition(" ")
    issued, expires = values.pop("issued"), values.pop("expires")
    try:
        return Statement(
            seen_size=int(size) if size.isascii() and size.isdigit() else -1,
            seen_root=base64.b64decode(root, validate=True),
            issued=_seconds(issued),
            expires=_seconds(expires),
            **values,
        )
    except (ValueError, binascii.Error):
        raise _invalid("the checkpoint or a time is not readable") from None


def _seconds(text: str) -> int:
    if not text.endswith("Z"):
        raise ValueError("not in UTC")
    return int(datetime.fromisoformat(text).timestamp())


def _invalid(message: str) -> Invalid:
    hint = "sign the bytes that `sealpress approve` or GetStatement gives, unchanged"
    return Invalid(message, reason="APPROVAL_STATEMENT", hint=hint)
