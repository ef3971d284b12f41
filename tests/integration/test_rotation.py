"""Do old and new keys overlap, so that no verifier is left behind? Line keys by change, log keys by the next number."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from independent.verifier import verify as independent_verify
from kit.laboratory import SHA256, Lab, digest_of
from sealpress.client import StreamItem, load_client
from sealpress.client.tls import credentials
from sealpress.errors import Invalid, Malformed, Precondition, SealpressError
from sealpress.governance import changes as c
from sealpress.v1 import signing_pb2, signing_pb2_grpc
from sealpress.verify.policy import parse_policy
from sealpress.verify.proof import verify_proof
from sealpress.wiring import laboratory
from sealpress.wiring.lab_charter import APP, FIRMWARE, FW


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A node of its own."""
    with Lab() as made:
        yield made


def signed(lab: Lab, what: str) -> bytes:
    """A proof of the ordinary line."""
    with lab.client("builder") as client:
        return client.sign(digest_of(what), line=APP).proof


def verifies(trust: str, what: str, proof: bytes) -> bool:
    """Both verifiers say the same."""
    digest = digest_of(what)
    try:
        verify_proof(parse_policy(trust.encode()), SHA256, digest, proof)
        ours = True
    except Invalid:
        ours = False
    try:
        independent_verify(trust, "sha256", digest, proof)
        theirs = True
    except Exception:
        theirs = False
    assert ours == theirs
    return ours


def states(lab: Lab) -> dict[str, tuple[str, str]]:
    """Private and public half of each key."""
    return {key.key: (key.state, key.public_state) for key in lab.people.of("olga").governance().keys}


def test_a_successor_takes_over_and_both_verify(lab: Lab) -> None:
    """GR-112: pre-active beside the old one; once active it signs, the old one only verifies; all proofs verify."""
    # Each with its own published trust file, and with none of the other's.
    before = signed(lab, "before")
    lab.people.issue_key("app-2", algorithm="p256")
    lab.restart()
    assert states(lab) == {"app-1": ("active", "published"), "app-2": ("pre_active", "published")}
    between = signed(lab, "between")
    old, new = ((lab.directory / "trust" / f"app-{n}.policy").read_text() for n in (1, 2))
    assert verifies(old, "between", between) and not verifies(new, "between", between)

    lab.people.activate_key("app-2")
    after = signed(lab, "after")

    assert states(lab) == {"app-1": ("deactivated", "verify_only"), "app-2": ("active", "published")}
    assert verifies(old, "before", before) and verifies(new, "after", after)
    assert not verifies(old, "after", after) and not verifies(new, "before", before)
    lab.restart()
    assert verifies(new, "restarted", signed(lab, "restarted"))


def test_a_client_outlives_the_key_that_it_knew(lab: Lab) -> None:
    """It is connected while another is activated: answers of each kind, also to a request of before, still hold."""
    lab.people.issue_key("app-2", algorithm="p256")
    lab.restart()
    digest, content = digest_of("before"), b"content"
    with lab.client("builder") as client:
        before = client.sign(digest, line=APP, request_id="one")
        lab.people.activate_key("app-2")
        after = client.sign(digest_of("after"), line=APP)
        again = client.sign(digest, line=APP, request_id="one")
    for number in range(3):
        with lab.client("builder") as client:
            client.key(APP)
            lab.people.issue_key(f"app-{number + 3}", algorithm="p256")
            lab.restart()
            lab.people.activate_key(f"app-{number + 3}")
            if number == 0:
                assert client.sign_batch(digest_of("one") + digest_of("two"), line=APP).count == 2
            elif number == 1:
                assert client.sign_content([content], line=APP).proof
            else:
                assert all(answer.signed for answer in client.sign_stream([StreamItem(digest)], line=APP))
    old, new = ((lab.directory / "trust" / f"app-{n}.policy").read_text() for n in (1, 2))

    assert verifies(old, "before", before.proof) and verifies(new, "after", after.proof)
    assert verifies(old, "before", again.proof) and again.leaf_index == before.leaf_index


def test_whoever_asks_again_in_a_new_process_learns_the_former_key(lab: Lab) -> None:
    """A job's retry with a request id of before a rotation: the same leaf, and a proof that its client accepts."""
    digest, pair = digest_of("before"), digest_of("one") + digest_of("two")
    with lab.client("builder") as client:
        before = client.sign(digest, line=APP, request_id="one")
        client.sign_batch(pair, line=APP, request_id="two")
    lab.people.issue_key("app-2", algorithm="p256")
    lab.restart()
    lab.people.activate_key("app-2")

    with lab.client("builder") as client:
        again = client.sign(digest, line=APP, request_id="one")
    with lab.client("builder") as client:
        batch = client.sign_batch(pair, line=APP, request_id="two")
    with lab.client("builder") as client:
        (item,) = client.sign_stream([StreamItem(digest, request_id="one")], line=APP)

    assert again.leaf_index == before.leaf_index and batch.count == 2
    assert item.signed is not None and item.signed.leaf_index == before.leaf_index
    trust = (lab.directory / "trust" / "app-1.policy").read_text()
    assert all(verifies(trust, "before", proof) for proof in (again.proof, item.signed.proof))


def former_keys(lab: Lab) -> list[tuple[str, bytes]]:
    """What GetKey tells of the keys that the ordinary line had: state and id."""
    config = load_client(lab.directory / "builder.toml")
    with grpc.secure_channel(config.signing, credentials(config)) as channel:
        stub: Any = signing_pb2_grpc.SigningServiceStub(channel)  # type: ignore[no-untyped-call]
        answer = stub.GetKey(signing_pb2.GetKeyRequest(key=APP), timeout=30)
    return [(key.state, key.key_id) for key in answer.former]


def test_a_compromised_key_is_no_former_one(lab: Lab) -> None:
    """A retired key is told to clients until it is marked; then nobody gets an answer of it again."""
    digest = digest_of("before")
    with lab.client("builder") as client:
        client.sign(digest, line=APP, request_id="one")
    lab.people.issue_key("app-2", algorithm="p256")
    lab.restart()
    assert not former_keys(lab)  # the successor is no former one
    lab.people.activate_key("app-2")
    assert former_keys(lab) == [("deactivated", lab.trust("app-1").key_id)]
    told = lab.cli("key", "compromise", "app-1", "--since", "2020-01-01", "--evidence", "a leak", "--reason", "found",
                   by="rena")  # fmt: skip
    lab.people.approve(told["change"]["change_id"], "otto")

    with lab.client("builder") as client, pytest.raises(SealpressError) as refused:
        client.sign(digest, line=APP, request_id="one")

    assert refused.value.reason == "KEY_NOT_ACTIVE"
    assert not former_keys(lab)


def test_a_retired_key_is_destroyed_before_witnesses(lab: Lab) -> None:
    """GR-115: after deactivation, by who did not issue it, on no slot, two witnesses; its signatures still verify."""
    proof = signed(lab, "before")
    act = c.KeyAct(key="app-1", line=APP)
    rena = lab.people.of("rena")
    with pytest.raises(Precondition):
        lab.people.propose("rena", "key.destroy", act)
    rena.deactivate(lab.people.decide("key.deactivate", act, by="rena"))
    change = lab.people.decide("key.destroy", act, by="rena")

    report = lab.people.custody("destroy", change, "gone", "--key", "app-1", by="rena")
    with pytest.raises(Precondition) as alone:
        rena.destroy(change, ["person:rena", "person:lena"])
    with pytest.raises(Malformed, match="more than 16"):  # none of them is left out of the record
        rena.destroy(change, ["person:lena", "person:carol"] * 9)
    key = rena.destroy(change, ["person:lena", "person:carol"])

    assert alone.value.reason == "WITNESSES_MISSING"
    assert key.state == "destroyed"
    assert all(slot["found"] == 0 for slot in json.loads(report.read_text())["report"]["slots"])
    assert verifies((lab.directory / "trust" / "app-1.policy").read_text(), "before", proof)


def test_a_compromised_key_comes_with_what_it_signed(lab: Lab) -> None:
    """GR-114: one proposes, another confirms; nothing brings it back; the impact lists every act since then."""
    signed(lab, "first")
    signed(lab, "second")
    rena = lab.people.of("rena")

    told = lab.cli("key", "compromise", "app-1", "--since", "2020-01-01", "--evidence", "a leak", "--reason", "found",
                   by="rena")  # fmt: skip
    lab.people.approve(told["change"]["change_id"], "otto")

    assert states(lab)["app-1"] == ("compromised", "distrusted")
    assert [event["digests"] for event in told["impact"]["events"]] == [digest_of(w).hex() for w in ("first", "second")]
    assert rena.impact("app-1").since == 1_577_836_800
    with pytest.raises(Precondition):
        lab.people.propose("olga", "key.resume", c.KeyAct(key="app-1", line=APP))


def test_a_log_gets_a_new_key_with_its_next_number(lab: Lab) -> None:
    """The line key moves along; proofs of both numbers verify; the old log stays as it was."""
    # Each with its own trust file, or with one that has both log keys.
    lab.people.issue_key("fw-1", FIRMWARE, "p384")
    lab.restart()
    lab.people.activate_key("fw-1", FIRMWARE)
    first = released(lab, "first")
    old = (lab.directory / "trust" / "fw-1.policy").read_text()

    lab.node.stop()
    lab.people.close()
    new = next_number(lab)
    lab.node.start()
    second = released(lab, "second")

    both = old.splitlines()[0] + "\n" + new
    assert verifies(old, "first", first) and verifies(new, "second", second)
    assert not verifies(new, "first", first) and not verifies(old, "second", second)
    assert verifies(both, "first", first) and verifies(both, "second", second)
    lab.node.stop()
    lab.people.close()
    assert lab.cli("log", "verify", "data/fw")["ok"]
    assert lab.cli("log", "verify", "data/fw2")["ok"]


def released(lab: Lab, what: str) -> bytes:
    """A proof of the firmware line, with all that it takes."""
    grant = lab.release(digest_of(what))
    with lab.client("ci") as client:
        return client.sign(digest_of(what), line=FIRMWARE, grant_id=grant).proof


def next_number(lab: Lab) -> str:
    """Close log fw/1 and begin fw/2 with another key; the trust file for the new one."""
    directory = lab.directory
    shutil.copy(directory / "keys" / "log-fw.pem", directory / "keys" / "log-fw-1.pem")
    laboratory.make_log_key(directory, FW)
    for name in ("serve.toml", "fw-signer.toml", "custodian.toml"):
        text = (directory / name).read_text().replace("[log.fw]", "[log.fw2]").replace('log = "fw"', 'log = "fw2"')
        head, section, rest = text.partition("[log.fw2]\n")
        (directory / name).write_text(head + section + re.sub(r"number = 1", "number = 2", rest, count=1))
    pem = (directory / "keys" / "fw-1.pem").read_bytes()
    return laboratory.trust_text(directory, FW, FIRMWARE, pem, number=2)
