"""Which log stands in a directory: its name and number."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from sealpress.core.segment import Segment, segment_name
from sealpress.errors import CoreError, Damaged, Invalid
from sealpress.tlog import archived
from sealpress.tlog.entry import GovernanceEvent, LogCreated, Where
from sealpress.tlog.reader import unreadable
from sealpress.tlog.record import from_frame
from sealpress.tlog.standing import segments


def identity(directory: Path) -> tuple[str, int]:
    """Name and number of a log, though segment 0 may be archived. Invalid LOG_MISSING."""
    found = archived.listed(directory)
    return (found.name, found.log_number) if found is not None else first_record(directory)


def first_record(directory: Path) -> tuple[str, int]:
    """Name and number of a log as its first record tells them. Invalid LOG_MISSING: no log is there; Damaged: it is."""
    path = directory / "journal" / segment_name(0)
    if not path.is_file():
        if later := segments(directory):
            raise Damaged(
                f"{directory}: segment 0 is missing, though {later[0].name} stands there",
                reason="LOG_DAMAGED",
                hint=f"take it from a copy, or, if it was archived, journal/{archived.NAME} from a backup; "
                "see daemon/DAMAGED-LOG.md",
            )
        raise Invalid(f"{directory}: no log stands here", reason="LOG_MISSING", hint="the directory is <data>/<log>")
    try:
        with Segment(path) as segment:
            frame = segment.frame()
            header = segment.header
        event = from_frame(0, frame).event if frame is not None else None
        if isinstance(event, GovernanceEvent) and event.kind == "log.created":
            said = msgspec.json.decode(event.body, type=LogCreated)
            if header.log_id == hashlib.sha256(f"{said.name}/{said.number}".encode()).digest():
                return said.name, said.number
    except (CoreError, Invalid, msgspec.DecodeError) as error:
        raise unreadable(directory, Where(0, 0), error) from error
    raise unreadable(directory, Where(0, 0), Invalid("the first record does not tell the log's name"))
