"""Is a grant watched from request to use, brought once, released by others, given back and revoked?"""

from __future__ import annotations

import threading
from contextlib import suppress

import grpc
import msgspec
import pytest

from kit.laboratory import (
    NO_GRANT,
    SHA256,
    Lab,
    digest_of,
    need_firmware_key,
    wait_until,
)
from sealpress.client.control import Item
from sealpress.errors import NotPermitted, Precondition, Refusal, TransportError
from sealpress.wiring.lab_charter import FIRMWARE


def test_a_grant_is_watched_from_request_to_use(lab: Lab) -> None:
    """in_review, held, active: on the stream of who asked; strangers do not learn that it exists."""
    need_firmware_key(lab)
    lab.token()
    asked = lab.people.of("ci").request_grant(FIRMWARE, "watched", SHA256, [Item(digest_of("watched"), "w.img")])
    states: list[str] = []

    def listen() -> None:
        with suppress(Refusal, TransportError, grpc.RpcError):
            for grant in lab.people.of("ci").watch_grant(asked.change_id):
                if grant.state not in states[-1:]:  # it is told again when one of two has approved it
                    states.append(grant.state)

    threading.Thread(target=listen, daemon=True).start()
    wait_until(lambda: states == ["in_review"])
    grant = lab.people.approve(asked.change_id, "rita", "rob").grant_id
    wait_until(lambda: states[-1] == "held")
    lab.people.of("lena").release(grant)
    wait_until(lambda: states == ["in_review", "held", "active"])

    for by, id_ in (("builder", grant), ("builder", NO_GRANT), ("ci", NO_GRANT)):
        with pytest.raises(NotPermitted, match="no grant of that id") as strange:
            lab.people.of(by).grant(id_)
        assert "RequestGrant" in strange.value.hint  # a pipeline needs no role, so none is what it lacks
    assert lab.people.of("rita").grant(grant).max_uses == 1


def test_a_manifest_in_columns_is_the_same_release(lab: Lab) -> None:
    """1,000 artifacts; the same digest of the list as item by item; no names is no names."""
    need_firmware_key(lab)
    items = [Item(digest_of(f"item {number}"), f"{number}.bin", "2.0", number) for number in range(1_000)]
    lab.token()
    columns = lab.people.of("ci").submit_manifest(FIRMWARE, "big", SHA256, items, version="2.0")
    lab.token()
    single = lab.people.of("ci").request_grant(FIRMWARE, "big", SHA256, items)

    assert columns.manifest_sha256 == columns.grant.manifest_sha256 == single.manifest_sha256
    assert columns.grant.max_uses == 1_000
    record = msgspec.json.decode(lab.people.of("rita").change(columns.grant.change_id).change.record)
    assert len(msgspec.json.decode(record["request"])["items"]) == 1_000


def test_a_release_is_shown_beside_the_one_before(lab: Lab) -> None:
    """GR-42: what GetChange gives to compare with is the line's previous release, as it was approved."""
    need_firmware_key(lab)
    lab.release(digest_of("release 1"))
    first = next(one for one in lab.people.of("rita").changes(kind="sign.release", state="closed").changes)
    lab.token()
    asked = lab.people.of("ci").request_grant(FIRMWARE, "2", SHA256, [Item(digest_of("release 2"), "0.img")])

    previous = lab.people.of("rita").change(asked.change_id).previous

    assert msgspec.json.decode(previous)["change_id"] == first.change_id


def test_a_token_brings_one_grant(lab: Lab) -> None:
    """The second request with the same token is a replay, and recorded."""
    need_firmware_key(lab)
    lab.token()
    ask = (FIRMWARE, "once", SHA256, [Item(digest_of("once"))])
    lab.people.of("ci").request_grant(*ask)

    with pytest.raises(NotPermitted) as again:
        lab.people.of("ci").request_grant(*ask)

    assert again.value.reason == "TOKEN_REPLAYED"
    assert again.value.event_id


def test_a_token_brings_no_second_grant_after_a_restart(lab: Lab) -> None:
    """What a token has had stands in the log: the node that starts again does not give it once more."""
    need_firmware_key(lab)
    lab.token()
    ask = (FIRMWARE, "once", SHA256, [Item(digest_of("once and again"))])
    lab.people.of("ci").request_grant(*ask)
    lab.restart()

    with pytest.raises(NotPermitted) as again:
        lab.people.of("ci").request_grant(*ask)

    assert again.value.reason == "TOKEN_REPLAYED"


def test_who_took_part_does_not_release(lab: Lab) -> None:
    """GR-30: an approver has no such role, and the role alone is not enough before approval."""
    need_firmware_key(lab)
    grant = lab.release(digest_of("parts"), released=False)

    with pytest.raises(NotPermitted):
        lab.people.of("rita").release(grant)
    assert lab.people.of("lena").release(grant).state == "active"
    with pytest.raises(Precondition) as twice:
        lab.people.of("lena").release(grant)
    assert twice.value.reason == "ILLEGAL_MOVE"


def test_the_grantee_gives_back_and_a_responder_revokes(lab: Lab) -> None:
    """Both end it at once; another machine cannot."""
    need_firmware_key(lab)
    first, second = lab.release(digest_of("one")), lab.release(digest_of("two"))

    with pytest.raises(NotPermitted):
        lab.people.of("builder").revoke_grant(first, "not its own")
    lab.people.of("ci").revoke_grant(first, "built again")
    lab.people.of("rena").revoke_grant(second, "a defect", control=True)

    assert [lab.people.of("ci").grant(one).state for one in (first, second)] == ["revoked", "revoked"]
    with lab.client("ci") as client, pytest.raises(NotPermitted) as refused:
        client.sign(digest_of("one"), line=FIRMWARE, grant_id=first)
    assert refused.value.reason == "GRANT_REVOKED"


def test_a_grant_is_revoked_by_the_id_of_its_change(lab: Lab) -> None:
    """Who asked knows that id from the beginning: it stops what came of the change, as it shows it."""
    need_firmware_key(lab)
    grants = [lab.release(digest_of(name)) for name in ("three", "four")]
    first, second = [lab.people.of("ci").grant(one).change_id for one in grants]
    lab.people.of("ci").revoke_grant(first, "built again")
    lab.people.of("rena").revoke_grant(second, "a defect", control=True)

    assert [lab.people.of("ci").grant(one).state for one in grants] == ["revoked", "revoked"]
