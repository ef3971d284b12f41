"""`sealpress status`: how a node is, at a glance.

Guarantees: exit 0 only if every slot is up and every line ready. Does not: read the node's files; it asks the daemon.
"""

from __future__ import annotations

from typing import Any

import typer
from google.protobuf.json_format import MessageToDict
from rich import box
from rich.table import Table

from sealpress.cli.output import REFUSED, ClientFile, JsonFlag, console, emit, moment, reporting
from sealpress.client import Client, load_client


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(client: ClientFile = None, as_json: JsonFlag = False) -> None:
    """Slots, lines, queue, checkpoints, space, days left of the certificate; 1 while a slot or line cannot sign."""
    with reporting(as_json=as_json):
        with Client(load_client(client)) as daemon:
            found = daemon.get_status()
        if as_json:
            emit(MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        else:
            _tell(found)
        if not (found.signer_up and all(slot.up for slot in found.slots) and all(line.ready for line in found.lines)):
            raise typer.Exit(REFUSED)


def _table(*columns: str) -> Table:
    """That of the slots fits into 80 columns."""
    return Table(*columns, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)


def _tell(found: Any) -> None:
    terminal = console()
    end = moment(found.certificate_not_after, "%F")
    terminal.print(f"{found.node}: sealpress {found.version}, signer {'up' if found.signer_up else 'DOWN'}, "
                  f"certificate until {end}")  # fmt: skip
    slots = _table("slot", "up", "breaker", "sessions", "operations", "each ms", "waiting", "restarts", "opened", "why")
    for slot in found.slots:
        counts = (slot.waiting, slot.restarts, slot.opened)
        each_ms = f"{slot.latency_us / 1000:.2f}"
        of_use = (str(slot.sessions), str(slot.operations), each_ms)
        slots.add_row(slot.slot, _yes(slot.up), slot.state, *of_use, *(str(count) for count in counts), slot.reason)
    lines = _table("line", "mode", "log", "ready", "why")
    for line in found.lines:
        lines.add_row(line.line, line.mode, line.log, _yes(line.ready), line.reason)
    logs = _table("log", "origin", "leaves", "sealed", "queue", "journal MiB", "free MiB")
    for log in found.logs:
        sizes = (log.tree_size, log.sealed_size, log.queue, log.journal_bytes >> 20, log.free_bytes >> 20)
        logs.add_row(log.log, log.origin, *(str(size) for size in sizes))
    for table in (slots, lines, logs):
        terminal.print(table)
    for slot in found.slots:
        for key in slot.unmanaged_keys:
            terminal.print(f"{slot.slot}: key {key} may sign and is in no configuration", markup=False)
        for key, said in slot.differing_keys.items():
            terminal.print(f"{slot.slot}: of key {key}, {said}", markup=False)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
