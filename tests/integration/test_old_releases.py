"""Is a release that is over short in memory, and whole for whoever asks what was approved?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.acme import CI, DEPLOYMENT, GOVERNANCE_LOG, RELEASE, ask, digest
from kit.governed import Governed
from sealpress.errors import Precondition
from sealpress.governance import evidence_chain
from sealpress.governance import facts as f
from sealpress.governance.state import encode
from sealpress.rpc import views
from sealpress.tlog import explain
from sealpress.values import KeyClass
from sealpress.verify.change import ChangeRecord, ReleaseItem, ReleaseRequest, Required, manifest_sha256
from sealpress.verify.change import encode as canonical

IMAGES = 2_000
DAY_S = 86_400
SEGMENT = 4 << 20


def record(node: Governed) -> ChangeRecord:
    """The release of many images, as it was proposed."""
    items = tuple(ReleaseItem(digest=digest(number).hex(), name=f"{number}.bin") for number in range(IMAGES))
    asked = ReleaseRequest(
        release_id="7", line=RELEASE, identity=CI, rule="ci", algorithm="sha256", items=items,
        manifest_sha256=manifest_sha256(items), ttl_s=3_600,
    )  # fmt: skip
    return ChangeRecord(
        change_id=node.office.desk().new_id(), profile="baseline", deployment=DEPLOYMENT, log=GOVERNANCE_LOG,
        kind="sign.release", line=RELEASE, request=canonical(asked).decode(), summary="s", reason="r", risk="",
        rollback="", ticket="", policy_sha256=node.office.state.policy_sha256, requester=CI, requester_person="",
        creator_person="", created=node.now, expires=node.now + DAY_S, required=Required(path="signing", quorum=2),
    )  # fmt: skip


async def released(node: Governed) -> tuple[str, f.GrantIssued]:
    """Proposed, approved, granted; its change and its grant."""
    proposed = record(node)
    id_ = proposed.change_id
    approval = f.ApprovalCounted(
        change_id=id_, person="person:olga", statement="as seen", signature="signed", credential="c", groups=(),
        flags=None, counter=None, nonce=id_, expires=node.now + DAY_S,
    )  # fmt: skip
    images = tuple(digest(number).hex() for number in range(IMAGES))
    grant = node.grant(RELEASE, IMAGES, change_id=id_, constraint="exact-digests", algorithm="sha256", digests=images)
    moves = {verb: f.ChangeMoved(change_id=id_, verb=verb, actor="") for verb in ("approve", "execute", "succeed")}
    await node.write(f.ChangeSubmitted(change=proposed), approval, moves["approve"], moves["execute"])
    await node.write(grant, moves["succeed"], f.ChangeMoved(change_id=id_, verb="close", actor=""))
    return id_, grant


async def test_a_release_that_is_over_keeps_nothing_of_its_length(tmp_path: Path) -> None:
    """Its state is a few kilobytes, while it lasts and its evidence are what they were, also after a start."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, segment_bytes=SEGMENT) as node:
        await node.begin()
        before = len(encode(node.office.state))
        id_, grant = await released(node)
        await node.sign(ask(RELEASE, digest(7), grant_id=grant.grant))
        evidence, told = node.office.evidence(id_), views.whole_change(node.office, id_)
        open_, size = encode(node.office.state), len(encode(node.office.state)) - before
        await node.write(f.GrantMoved(grant=grant.grant, verb="expire", actor="", reason=""))

        assert open_ != encode(node.office.state)
        assert len(encode(node.office.state)) - before < 3_000 < 100_000 < size
        assert node.office.evidence(id_) == evidence
        assert views.whole_change(node.office, id_) == told
        await node.office.keep()
    async with node.again() as node:
        assert node.folded.facts <= 1
        assert node.office.evidence(id_) == evidence
        assert views.whole_change(node.office, id_).change.record == told.change.record


async def test_explain_tells_the_digests_of_an_old_release(tmp_path: Path) -> None:
    """The chain has the grant with what it was for, and the change as its approvers saw it."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, segment_bytes=SEGMENT) as node:
        await node.begin()
        id_, grant = await released(node)
        await node.sign(ask(RELEASE, digest(7), grant_id=grant.grant))
        await node.write(f.GrantMoved(grant=grant.grant, verb="revoke", actor="", reason="an incident"))
        office, reader = node.office, node.logs["gov"].reader

        def why(event: evidence_chain.Event) -> dict[str, object]:
            return evidence_chain.chain(office.state, event, office.recorded)

        (told, *_) = explain.story(reader, explain.by_digest(reader, digest(7)), digest(7), why)

    assert "revoked" == told["why"]["grant"]["state"]
    assert digest(7).hex() in told["why"]["grant"]["digests"]
    assert id_ == told["why"]["change"]["change_id"]
    assert "7.bin" in told["why"]["change"]["request"]


async def test_a_release_that_came_to_nothing_is_short_too(tmp_path: Path) -> None:
    """Rejected: its state is told with the manifest that was asked for, and nothing of its digests stays."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, segment_bytes=SEGMENT) as node:
        await node.begin()
        proposed = record(node)
        await node.write(f.ChangeSubmitted(change=proposed))
        asked = views.grant(node.office.desk(), node.office, proposed.change_id)
        await node.write(f.ChangeMoved(change_id=proposed.change_id, verb="reject", actor=""))
        told = views.grant(node.office.desk(), node.office, proposed.change_id)

        assert node.office.state.change(proposed.change_id).shed
    assert asked is not None
    assert told is not None
    assert ("rejected", asked.manifest_sha256, IMAGES) == (told.state, told.manifest_sha256, told.max_uses)


async def test_what_was_archived_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a release whose record has left the log hears where it is; no evidence is made up."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, segment_bytes=SEGMENT) as node:
        await node.begin()
        id_, grant = await released(node)
        await node.write(f.GrantMoved(grant=grant.grant, verb="expire", actor="", reason=""))
        monkeypatch.setattr(node.office.recorded, "_records", lambda _: None)
        with pytest.raises(Precondition) as caught:
            views.whole_change(node.office, id_)

        assert "LOG_ARCHIVED" == caught.value.reason
        assert node.office.evidence(id_) is None
        assert views.grant(node.office.desk(), node.office, id_)


async def test_a_clock_that_went_back_hides_no_release(tmp_path: Path) -> None:
    """A release whose id names a moment hours before its record's is found all the same: its leaves need it."""
    async with Governed(tmp_path, lines={RELEASE: KeyClass.RELEASE}, segment_bytes=SEGMENT) as node:
        await node.begin()
        for _ in range(60):
            await node.write(*(f.AlertRaised(name="n", subject="s", text="x" * 4_000) for _ in range(50)))
            node.clock.advance(DAY_S)
        node.clock.step(-30 * DAY_S)
        id_, grant = await released(node)
        before = node.office.evidence(id_)
        await node.write(f.GrantMoved(grant=grant.grant, verb="expire", actor="", reason=""))

        assert len(node.logs["gov"].reader.numbers()) > 2
        assert before is not None
        assert before == node.office.evidence(id_)
