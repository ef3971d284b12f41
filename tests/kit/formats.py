"""Makes the fixture of the on-disk formats as this release writes them: one small node's files, and what they hold.

    PYTHONPATH=tests:daemon python -m kit.formats tests/vectors/format-1.tar.xz

Run it once for a new version of a format, never again for an old one: what a former release wrote cannot be made anew.

    log/       a log of a proof and a direct line: some segments, records of every type, tree, indexes, checkpoint
    signer/    its mark
    gov/       journal and snapshot file of a governed node's governance log
    facts.json sizes, roots, what Explain tells of one digest, and the like
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from kit.acme import CI, DEPLOYMENT, GOVERNANCE_LOG, LOW, OLGA_NAME, RELEASE, ask, digest
from kit.clock import VirtualClock
from kit.governed import Governed
from kit.scribe import KEY_IDS, Scribe
from sealpress.governance import facts as f
from sealpress.governance import fold
from sealpress.governance.state import encode
from sealpress.hsm.mark import HeadMark, MarkFile, Signed
from sealpress.tlog import checkpoint, explain
from sealpress.tlog.entry import OutcomeStatus
from sealpress.values import KeyClass, Mode
from sealpress.verify.change import ChangeRecord, ReleaseRequest, Required, manifest_sha256
from sealpress.verify.change import encode as canonical

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SEED = 11
DAY_S = 86_400


def scribe_of(directory: Path, clock: VirtualClock) -> Scribe:
    """The writer of `log/`."""
    scribe = Scribe(directory, SEED)
    scribe.clock = clock
    return scribe


def write_log(directory: Path) -> dict[str, Any]:
    """A log with a record of every type, the last tail of which was torn once."""
    scribe = scribe_of(directory, VirtualClock())
    scribe.open()
    scribe.policy(b"a policy")
    (act,) = scribe.request(3, names=True)
    scribe.seal(act)
    asked = scribe.log.stored(act.where).digests[32:64]
    _tear(scribe)
    for _ in range(2):
        scribe.history(25)
        scribe.log.seal_segment()
        scribe.reopen()
    scribe.refuse()
    (direct,) = scribe.request(2, mode=Mode.DIRECT)
    scribe.sign(direct, [b"first", b"second"])
    (dangling,) = scribe.request(1)
    (last,) = scribe.request(4)
    scribe.seal(last)
    note = scribe.signer.note(scribe.log.size, scribe.log.root(), scribe.clock.now_ns() // 10**9, line=False)
    checkpoint.write(directory, note)
    log = scribe.log
    size, root, frontier = log.size, log.root(), log.tree.frontier(log.size)
    time = scribe.clock.now_ns() // 10**9
    (directory.parent / "signer").mkdir()
    file = MarkFile(directory.parent / "signer", log.origin)
    keys = {key_id[:8]: Signed(size - number, time) for number, key_id in enumerate(KEY_IDS.values())}
    file.begin(HeadMark(log.origin, size, root, frontier, time, keys))
    file.ended()
    file.close()
    told = explain.story(log.reader, explain.by_digest(log.reader, asked), asked)
    facts = {
        "now_s": time, "origin": log.origin, "size": size, "root": root.hex(), "next_seq": log.next_seq,
        "segments": log.reader.end.segment + 1, "vkeys": scribe.signer.vkeys, "asked": asked.hex(), "told": told,
        "dangling": [stored.first_leaf for stored in scribe.reopen().recovered.dangling],
        "request_id": dangling.event.request_id, "frontier": frontier.hex(),
        "mark_keys": {key.hex(): [each.size, each.time] for key, each in keys.items()},
        "types": sorted({record.type.name for record in scribe.log.records()}),
    }  # fmt: skip
    assert OutcomeStatus.SEALED.value in json.dumps(told)
    scribe.log.close()
    return facts


def _tear(scribe: Scribe) -> None:
    """Cut off the COMMIT of the last batch, and open again."""
    end = scribe.log.reader.end
    scribe.request(2)
    scribe.log.close()
    path = scribe.settings.directory / "journal" / f"{end.segment:020}.seg"
    data = path.read_bytes()
    last = scribe.log.reader.end.offset
    path.write_bytes(data[: last + 40] + bytes(len(data) - last - 40))
    scribe.open()


async def write_governed(directory: Path) -> dict[str, Any]:
    """A governed node that signed, and left its snapshot."""
    lines = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE}
    node = Governed(directory, lines=lines, successors={"k-next": RELEASE}, segment_bytes=64 << 10)
    await node.open()
    await node.begin()
    for number in range(3):
        await node.sign(ask(LOW, digest(f"nightly {number}")))
    await _govern(node)
    ledger = node.office.ledger
    spent = [{name: count for name, count in ledger.grants.items() if count}, dict(ledger.keys)]
    await node.close()
    log = node.logs["gov"]
    settings = log.settings
    return {
        "name": settings.name, "number": settings.number, "segment_bytes": settings.segment_bytes, "spent": spent,
        "fold": fold.VERSION, "state_sha256": hashlib.sha256(encode(node.office.state)).hexdigest(),
        "size": log.size, "now_s": node.clock.now_ns() // 10**9,
    }  # fmt: skip


async def _govern(node: Governed) -> None:
    """What the state makes of a withdrawn approval, a release that a successor signs, a revoked grant and new dates."""
    request = ReleaseRequest(
        release_id="7", line=RELEASE, identity=CI, rule="ci", algorithm="sha256", items=(),
        manifest_sha256=manifest_sha256(()), ttl_s=3_600,
    )  # fmt: skip
    change = ChangeRecord(
        change_id=node.office.desk().new_id(), profile="baseline", deployment=DEPLOYMENT, log=GOVERNANCE_LOG,
        kind="sign.release", line=RELEASE, request=canonical(request).decode(), summary="s", reason="r", risk="",
        rollback="", ticket="", policy_sha256=node.office.state.policy_sha256, requester=CI, requester_person="",
        creator_person="", created=node.now, expires=node.now + DAY_S, required=Required(path="signing", quorum=2),
    )  # fmt: skip
    id_, ends = change.change_id, node.now + DAY_S
    approval = f.ApprovalCounted(
        change_id=id_, person="person:otto", statement="as seen", signature="signed", credential="c", groups=(),
        flags=None, counter=None, nonce="n", expires=ends,
    )  # fmt: skip
    await node.write(f.ChangeSubmitted(change=change), approval)
    node.clock.advance(60)
    await node.write(
        f.ApprovalEnded(change_id=id_, person="person:otto", verb="revoke", actor=OLGA_NAME),
        f.ChangeMoved(change_id=id_, verb="withdraw", actor=CI),
    )
    grant, over = node.grant(RELEASE, 3, gates=("release",)), node.grant(RELEASE, 3)
    passed = f.GatePassed(grant=grant.grant, gate="release", person="person:lena", actor=OLGA_NAME)
    await node.write(grant, passed, over)
    await node.sign(ask(RELEASE, digest(1), grant_id=grant.grant))
    await node.write(f.GrantMoved(grant=over.grant, verb="revoke", actor=OLGA_NAME, reason="an incident"))
    await node.write(node.moved("k-app", "deactivate"), node.moved("k-next", "activate"))
    due = node.office.state.keys["k-next"]
    later = f.KeyExtended(key="k-next", rotate_by=due.rotate_by + 1, not_after=due.not_after + 1, change_id="c")
    await node.write(f.AlertRaised(name="alert.key.rotate", subject="k-next", text="soon"), later)


def make(target: Path) -> None:
    """Everything, as one archive."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        facts = {"log": write_log(place / "log"), "governed": asyncio.run(write_governed(place / "node"))}
        (place / "node" / "gov").rename(place / "gov")
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for path in sorted(place.rglob("*")):
                below = path.relative_to(place).as_posix()
                kept = below.startswith(("log/", "signer/", "gov/journal/", "gov/index/")) and path.name != "lock"
                if path.is_file() and kept:
                    _add(archive, below, path.read_bytes())
            _add(archive, "facts.json", json.dumps(facts, indent=1, sort_keys=True).encode())


def _add(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(body)
    archive.addfile(entry, io.BytesIO(body))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
