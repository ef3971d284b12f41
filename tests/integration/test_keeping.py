"""Backup, restore and archive with the commands that an operator types, on a running node."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kit.acme import LOW, ask, digest
from kit.checkers import check_log
from kit.governed import Governed
from kit.node import DIRECT, PROOF, Node
from sealpress.cli import log
from sealpress.errors import CannotStart, Invalid
from sealpress.steps import _archive
from sealpress.tlog import archive
from sealpress.tlog.reader import LogReader

SETTINGS = {"journal": {"segment_bytes": 64 << 10}, "idempotency": {"window_s": 1}}
DAMAGED = 3


def sealpress(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """A command of `sealpress log` with --json: its document."""
    app = typer.Typer()
    log.register(app)
    done = CliRunner().invoke(app, ["log", *(str(one) for one in arguments), "--json"])
    assert done.exit_code == code, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def sign(node: Node, first: int, count: int) -> dict[str, tuple[int, bytes]]:
    """One digest after the other, in both modes; index and signature by request id."""
    found = {}
    with node.client() as client:
        for number in range(first, first + count):
            line = DIRECT if number % 3 == 0 else PROOF
            signed = client.sign(hashlib.sha256(b"%d" % number).digest(), line=line, request_id=f"r{number}")
            found[f"r{number}"] = signed.leaf_index, signed.signature
    return found


def test_a_running_node_is_backed_up_and_restored(tmp_path: Path) -> None:
    """The copy is taken beside the daemon; restored, the same ids get the recorded answers; too old, it is refused."""
    with Node(settings={"journal": SETTINGS["journal"]}) as node:
        told = sign(node, 0, 30)
        early = sealpress("backup", node.log_directory, tmp_path / "early")
        told |= sign(node, 30, 30)
        assert node.stop("serve") == 0
        late = sealpress("backup", node.log_directory, tmp_path / "late")
        assert late["tree_size"] > early["tree_size"]
        node.log_directory.rename(tmp_path / "damaged")

        sealpress("restore", tmp_path / "early", "--to", node.log_directory)
        refused = node.run("serve")
        assert refused.returncode == DAMAGED
        assert "LOG_BEHIND_MARK" in refused.stderr
        assert "DAMAGED-LOG.md" in refused.stderr

        shutil.rmtree(node.log_directory)
        sealpress("restore", tmp_path / "late", "--to", node.log_directory)
        node.start("serve")
        assert sign(node, 0, 60) == told
        assert node.stop("serve") == 0
        check_log(node.log_directory)
        assert sealpress("verify", node.log_directory)["ok"]


def test_old_segments_leave_a_running_node(tmp_path: Path) -> None:
    """They go to another place, compressed; the daemon signs on, starts again, and the whole log still verifies."""
    with Node(settings=SETTINGS) as node:
        sign(node, 0, 110)
        time.sleep(1.1)  # ages are counted in seconds
        before = len(list((node.log_directory / "journal").glob("*.seg")))
        sealpress("archive", node.log_directory, "--to", tmp_path / "cold", "--keep", "1", "--window-s", "1000", code=0)
        assert len(list((node.log_directory / "journal").glob("*.seg"))) == before  # all of it is young
        moved = sealpress("archive", node.log_directory, "--to", tmp_path / "cold", "--keep", "1", "--window-s", "0")
        assert len(moved["moved"]) >= 2
        sign(node, 110, 20)
        assert node.stop("serve") == 0
        assert sealpress("verify", node.log_directory)["ok"]
        shutil.move(tmp_path / "cold", tmp_path / "elsewhere")
        missing = sealpress("verify", node.log_directory, code=1)
        assert missing["error"]["reason"] == "ARCHIVE_MISSING"
        assert sealpress("verify", node.log_directory, "--archive", tmp_path / "elsewhere")["ok"]
        sealpress("unarchive", node.log_directory, "--archive", tmp_path / "elsewhere")
        node.start("serve")
        sign(node, 180, 3)
        assert node.stop("serve") == 0
        check_log(node.log_directory)


def reader_of(node: Governed, id_: str) -> LogReader:
    """A reader of a log of a node."""
    return node.logs[id_].reader


async def test_a_governed_log_keeps_what_its_start_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without knowing its snapshot nothing is archived; with it the next start is the same, of a later release, too."""
    node = Governed(tmp_path / "node", segment_bytes=64 << 10)
    async with node:
        await node.begin()
        for number in range(200):
            await node.sign(ask(LOW, digest(number)))
            node.clock.advance(20)
    node.clock.advance(3 * 86_400)
    async with node.again() as second:
        await second.sign(ask(LOW, digest("later")))
        state = second.office.state
        directory = second.logs["gov"].settings.directory
        needed = _archive.needed_from(
            directory / "index" / "governance.snapshot", reader_of(second, "gov"), reader_of(second, "gov"),
            second.logs["gov"].origin,
        )  # fmt: skip
        now_s = node.clock.now_ns() // 1_000_000_000
        options = {"keep": 1, "older_s": 0, "window_s": 86_400, "now_s": now_s}
        with pytest.raises(Invalid, match="governed"):
            archive.archive(directory, tmp_path / "cold", **options)
        moved = archive.archive(directory, tmp_path / "cold", needed_from=needed, **options)
        assert moved
    snapshot = directory / "index" / "governance.snapshot"
    async with node.again() as third:
        assert third.office.state.keys == state.keys
        await third.sign(ask(LOW, digest("again")))
        assert _archive.began_governed(third.logs["gov"])
    monkeypatch.setattr(_archive, "VERSION", _archive.VERSION + 1)
    async with node.again() as fourth:
        assert fourth.folded.snapshot_seq > 0
        assert fourth.office.state.keys == state.keys
    shutil.copytree(tmp_path / "node", tmp_path / "whole")
    archive.bring_back(tmp_path / "whole" / "gov")
    async with replace(node, directory=tmp_path / "whole") as fifth:  # the fourth did not make what it kept
        assert fifth.folded.snapshot_seq == 0
    snapshot.unlink()
    with pytest.raises(CannotStart) as refusal:
        await node.again().open()
    assert refusal.value.reason == "LOG_ARCHIVED"
