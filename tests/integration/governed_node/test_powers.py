"""Does a governed node keep its three powers apart, over the wire, and does what persons sign decide?"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import grpc
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from google.protobuf import empty_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kit.laboratory import SHA256, Lab, digest_of
from sealpress.cli.governing import sign_with
from sealpress.client import load_client
from sealpress.client.control import Item
from sealpress.client.tls import credentials
from sealpress.errors import Malformed, NotPermitted, Precondition, Refusal, TransportError
from sealpress.governance import changes as c
from sealpress.governance.roles import Role
from sealpress.v1 import access_pb2, approval_pb2, issuance_pb2, policy_pb2, retirement_pb2
from sealpress.verify import statement
from sealpress.wiring import laboratory
from sealpress.wiring.certificates import make_authority
from sealpress.wiring.laboratory import APP, FIRMWARE, PEOPLE, uri

SERVICES = {
    "issuance": issuance_pb2.DESCRIPTOR.services_by_name["IssuanceService"],
    "retirement": retirement_pb2.DESCRIPTOR.services_by_name["RetirementService"],
    "approval": approval_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
    "access": access_pb2.DESCRIPTOR.services_by_name["AccessService"],
    "policy": policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
}
CALLS = [(power, method) for power, service in SERVICES.items() for method in service.methods_by_name]
# What each person's roles are for; everything else of the five services is another's power.
POWERS = {
    "ines": {"issuance"},
    "rena": {"retirement"},
    "rita": set[str](),
    "lena": set[str](),
    "stella": {"issuance", "retirement", "access", "policy"},
}
NO_GRANT = "01JD8W6Q2N0K3M7T9V5X1Z4B6C"
ANYBODY = {"GetRoles", "RevokeCredential"}  # of oneself


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One node for all tests here; each uses what it made itself."""
    with Lab() as made:
        yield made


def call(lab: Lab, by: str, power: str, method: str, request: bytes = b"") -> grpc.RpcError | None:
    """A bare call with these bytes; its error."""
    service = SERVICES[power]
    config = load_client(lab.directory / f"{by}.toml")
    control = load_client(lab.directory / "olga.toml").control
    stream = service.methods_by_name[method].server_streaming
    with grpc.secure_channel(control, credentials(config)) as channel:
        path = f"/{service.full_name}/{method}"
        make = channel.unary_stream if stream else channel.unary_unary
        ask = make(path, request_serializer=bytes, response_deserializer=empty_pb2.Empty.FromString)
        try:
            answer = ask(request, timeout=20)
            if stream:
                next(answer)
                answer.cancel()
        except grpc.RpcError as error:
            return error
    return None


def told(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Reason and metadata."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None and status.details[0].Unpack(info)
    return info


# ---- three powers (GR-10, 15) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("power", "method"), CALLS)
@pytest.mark.parametrize("by", ["builder", "stranger"])
def test_credentials_of_the_signing_plane_do_nothing_else(lab: Lab, by: str, power: str, method: str) -> None:
    """GR-15: a signing client's certificate at each call of issuance, retirement, approval, access, policy: refused."""
    error = call(lab, by, power, method)

    assert error is not None and error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert told(error).metadata["event_id"]


@pytest.mark.parametrize(("power", "method"), CALLS)
def test_a_token_of_a_pipeline_does_not_even_connect(lab: Lab, power: str, method: str) -> None:
    """The control listener asks for a certificate before it reads a message."""
    lab.token()

    error = call(lab, "ci", power, method)

    assert error is not None and error.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("by", POWERS)
def test_a_person_of_one_plane_has_no_other(lab: Lab, by: str) -> None:
    """GR-10: PERMISSION_DENIED and a record, whatever is sent; a person's own plane looks at what he sends."""
    for power, method in CALLS:
        if power == "approval" or method in ANYBODY:
            continue
        error = call(lab, by, power, method)
        if power in POWERS[by]:
            assert error is None or told(error).reason != "NOT_PERMITTED" or told(error).metadata["event_id"]
            continue
        assert error is not None and error.code() is grpc.StatusCode.PERMISSION_DENIED, (power, method)
        assert told(error).reason == "NOT_PERMITTED"
        assert told(error).metadata["event_id"]


def test_a_refusal_of_power_stands_in_the_log(lab: Lab) -> None:
    """Who, what and why; nobody hears of rules."""
    error = call(lab, "carol", "retirement", "SuspendKey")
    assert error is not None

    found = lab.cli("log", "explain", told(error).metadata["event_id"], by="auditor")["events"]

    assert len(found) == 1
    assert found[0]["event"]["identity"] == uri("carol")
    assert found[0]["event"]["line"] == "[retirement] SuspendKey"
    assert found[0]["event"]["reason"] == "NOT_PERMITTED"


def test_a_kind_of_change_is_proposed_at_its_own_service(lab: Lab) -> None:
    """An officer, who may propose much, does not retire keys at the service that issues them."""
    proposal = issuance_pb2.ProposeIssuanceRequest()
    proposal.proposal.kind = "key.deactivate"
    proposal.proposal.reason = "by the back door"

    error = call(lab, "stella", "issuance", "ProposeIssuance", proposal.SerializeToString())

    assert error is not None and error.code() is grpc.StatusCode.INVALID_ARGUMENT


# ---- changes and approvals -------------------------------------------------------------------------------------------


def enrolment(name: str) -> c.EnrolRequest:
    """Of somebody new."""
    return c.EnrolRequest(identity=f"person:{name}", kind="person", names=(f"uri:spiffe://lab.localhost/{name}",))


def test_an_approval_counts_by_its_signature_whoever_brings_it(lab: Lab) -> None:
    """GR-94: a stranger's connection carries what an officer signed; the same file does not count twice."""
    change = lab.people.propose("olga", "access.enrol", enrolment("nora"))
    text = lab.people.of("otto").statement(change.change_id)
    signature = sign_with(lab.directory / "fido" / "otto", statement.NAMESPACE, text)

    found = lab.people.of("stranger").submit(text, signature)
    with pytest.raises(Precondition) as again:
        lab.people.of("otto").submit(text, signature)

    assert found.state == "in_review"
    assert [one.person for one in lab.people.of("olga").change(change.change_id).change.approvals] == ["person:otto"]
    assert again.value.reason == "APPROVAL_USED"
    assert again.value.event_id


@pytest.mark.parametrize("what", ["statement", "signature", "other key", "ssh namespace"])
def test_what_was_changed_after_signing_does_not_count(lab: Lab, what: str) -> None:
    """One byte of the statement, a signature over something else, another's key, another use of the key."""
    change = lab.people.propose("olga", "access.enrol", enrolment(f"p-{len(what)}-{what[0]}"))
    text = lab.people.of("otto").statement(change.change_id)
    key = "rob" if what == "other key" else "otto"
    namespace = "file" if what == "ssh namespace" else statement.NAMESPACE
    signature = sign_with(lab.directory / "fido" / key, namespace, b"x" if what == "signature" else text)

    with pytest.raises(NotPermitted) as refused:
        lab.people.of("otto").submit(text.replace(b"step: 1", b"step: 2") if what == "statement" else text, signature)

    assert refused.value.reason.startswith("APPROVAL_") or refused.value.reason.startswith("SSHSIG_")
    assert not lab.people.of("olga").change(change.change_id).change.approvals


def test_nobody_approves_his_own_change_or_for_himself(lab: Lab) -> None:
    """GR-31, 34: no statement is handed out to the proposer, nor to who gains by it."""
    own = lab.people.propose("otto", "access.enrol", enrolment("olaf"))
    gain = c.BindRequest(identity="person:oscar", role=Role.SECURITY_OFFICER, line="*", group="security-officers")
    other = lab.people.propose("otto", "access.bind", gain)

    for by, change in (("otto", own), ("oscar", other)):
        with pytest.raises(NotPermitted) as refused:
            lab.people.of(by).statement(change.change_id)
        assert refused.value.reason == "APPROVAL_NOT_YOURS"
    with pytest.raises(NotPermitted) as himself:
        lab.people.propose("oscar", "access.bind", gain)
    assert himself.value.reason == "SELF_SERVING"


def test_withdrawn_and_rejected_is_over(lab: Lab) -> None:
    """By its proposer; by one who may approve; an approval by its author."""
    first, second, third = (lab.people.propose("olga", "access.enrol", enrolment(f"w{n}")) for n in range(3))
    lab.people.approve(third.change_id, "otto")

    assert lab.people.of("olga").withdraw(first.change_id, "a mistake").state == "withdrawn"
    assert lab.people.of("otto").reject(second.change_id, "no").state == "rejected"
    assert lab.people.of("otto").withdraw(third.change_id, "read it again").state == "in_review"
    with pytest.raises(NotPermitted):
        lab.people.of("lena").reject(third.change_id, "not hers")
    with pytest.raises(Precondition) as over:
        lab.people.of("otto").statement(first.change_id)
    assert over.value.reason == "ILLEGAL_MOVE"
    assert [one.state for one in lab.people.of("olga").change(third.change_id).change.approvals] == ["revoked"]


def test_a_request_has_one_spelling(lab: Lab) -> None:
    """Other bytes that would mean the same are refused: the bytes are what is signed."""
    with pytest.raises(Malformed):
        lab.people.of("olga").propose("access.enrol", b'{ "identity": "person:x" }', laboratory_texts())


def laboratory_texts() -> Any:
    """Why."""
    from sealpress.client.control import Texts

    return Texts("a test")


def test_what_waits_is_told_to_those_whom_it_waits_for(lab: Lab) -> None:
    """ListPending and Watch: to approvers, not to the proposer; gone when it is decided."""
    heard: list[str] = []
    listening = threading.Event()

    def listen() -> None:
        with suppress(Refusal, TransportError, grpc.RpcError):
            for change in lab.people.of("oscar").watch():
                heard.append(change.change_id)
                listening.set()

    lab.people.of("oscar").pending()  # connected before the thread uses it
    threading.Thread(target=listen, daemon=True).start()
    before = lab.people.propose("olga", "access.enrol", enrolment("wilma"))
    assert listening.wait(10)
    after = lab.people.propose("olga", "access.enrol", enrolment("willy"))

    wait_until(lambda: {before.change_id, after.change_id} <= set(heard))
    assert after.change_id in {one.change_id for one in lab.people.of("otto").pending()}
    assert after.change_id not in {one.change_id for one in lab.people.of("olga").pending()}
    assert lab.people.of("ines").pending() == []
    lab.people.of("otto").reject(after.change_id, "enough")
    assert after.change_id not in {one.change_id for one in lab.people.of("otto").pending()}


def wait_until(holds: Any, seconds: float = 10) -> None:
    """Fails if it does not come true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# ---- grants ----------------------------------------------------------------------------------------------------------


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


def need_firmware_key(lab: Lab) -> None:
    """The firmware key, active; made by the first test that wants it."""
    if not (lab.directory / "keys" / "fw-1.pem").exists():
        lab.people.issue_key("fw-1", FIRMWARE, "p384")
        lab.restart()
        lab.people.activate_key("fw-1", FIRMWARE)


def test_a_certificate_belongs_to_its_key(lab: Lab) -> None:
    """A chain for the key is attached whole; one for another key, or by another plane, is not."""
    chain = certificate((lab.directory / "keys" / "app-1.pem").read_bytes())
    other = certificate((lab.directory / "keys" / "log-main.pem").read_bytes())

    assert lab.people.of("ines").certify("app-1", chain).chain_sha256 == hashlib.sha256(chain).hexdigest()
    with pytest.raises(Malformed) as wrong:
        lab.people.of("ines").certify("app-1", other)
    assert wrong.value.reason == "CHAIN_INVALID"
    with pytest.raises(NotPermitted):
        lab.people.of("rena").certify("app-1", chain)


def certificate(public: bytes) -> bytes:
    """Of an authority that nobody asked, for this public key."""
    authority = make_authority(datetime.now(UTC))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(load_pem_public_key(public))  # type: ignore[arg-type]
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(authority.key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


# ---- what there is to see --------------------------------------------------------------------------------------------


def test_the_estate_is_answered_from_the_policy(lab: Lab) -> None:
    """GR-73: who can sign with a line, an environment; what a machine may have signed; for auditors alone."""
    auditor = lab.people.of("auditor")
    app = auditor.who_can_sign(APP)[0]
    builder = auditor.what_can_sign("workload:builder")

    assert [right.who for right in app.rights] == [uri("builder")]
    assert app.active_key == "app-1"
    assert {one.line for one in auditor.who_can_sign(environment="prod")} == {APP, FIRMWARE}
    assert [right.line for right in builder.rights] == [APP]
    assert auditor.what_can_sign(uri("stranger")).state == "unknown"
    with pytest.raises(NotPermitted):
        lab.people.of("ines").who_can_sign(APP)


def test_auditors_read_changes_and_facts(lab: Lab) -> None:
    """GR-14: request, statements, signatures and the text whose digest was approved, at any later time."""
    auditor = lab.people.of("auditor")
    events = auditor.events("policy")
    change_id = next(one.change_id for one in lab.people.of("olga").changes(kind="policy.change").changes)
    found = auditor.audited_change(change_id).change

    assert [event.type for event in events.events] == ["governance"]
    assert found.state == "closed"
    assert {one.person for one in found.approvals} == {"person:otto", "person:oscar"}
    assert found.sha256.hex() in found.rendering
    assert auditor.events("key.", limit=2).next_seq > 0
    assert all(b"sealpress approval v1" in one.statement for one in found.approvals)


def test_every_record_says_that_it_is_of_a_laboratory(lab: Lab) -> None:
    """Changes and views carry the profile; the key says that its token is software."""
    state = lab.people.of("olga").governance()
    key = next(one for one in state.keys if one.key == "app-1")

    assert state.profile == "lab"
    assert key.software_token and key.state == "active"
    assert {f"person:{name}" for name in PEOPLE} <= {one.identity for one in state.identities}


def test_the_command_line_speaks_json_and_exit_codes(lab: Lab) -> None:
    """0 with one document; 1 with reason and event id when refused; 2 for what makes no sense."""
    keys = lab.cli("key", "list", by="olga")["keys"]
    refused = lab.cli("key", "suspend", "app-1", "--reason", "no", by="lena", code=1)["error"]
    wrong = lab.cli("key", "show", "nothing", by="olga", code=2)["error"]

    assert "app-1" in {key["key"] for key in keys}
    assert refused["reason"] == "NOT_PERMITTED" and refused["event_id"]
    assert wrong["hint"]
    assert lab.cli("access", "roles", by="rita")["person"] == "person:rita"
    assert lab.cli("policy", "show", by="stella")["policy"].startswith("schema = 1")


def test_a_statement_is_signed_elsewhere_and_handed_in(lab: Lab) -> None:
    """`approve --statement-only`, `ssh-keygen` on another machine, `approve --submit`."""
    change = lab.people.propose("olga", "access.enrol", enrolment("ella")).change_id
    lab.cli("approve", change, "--statement-only", "s", by="otto")
    text = (lab.directory / "s").read_bytes()
    (lab.directory / "s.sig").write_text(sign_with(lab.directory / "fido" / "otto", statement.NAMESPACE, text))

    found = lab.cli("approve", "--submit", "s.sig", by="stranger")

    assert found["change_id"] == change
    assert statement.parse(text).person == "person:otto"


def test_a_person_proves_that_he_holds_the_key(lab: Lab) -> None:
    """`access credential`: proved where the key is, proposed by an officer; a proof for somebody else is refused."""
    laboratory.make_fido_key(lab.directory, "lena")
    lab.cli("access", "credential", "person:lena", "fido/lena.pub", "--key", "fido/lena", "--prove", "p", by="lena")
    proposal = ("access", "credential", "person:lena", "fido/lena.pub", "--proof", "p", "--reason", "a new token")

    found = lab.cli(*proposal, by="olga")
    wrong = lab.cli(*(part.replace("person:lena", "person:rob") for part in proposal), by="olga", code=2)

    assert found["kind"] == "access.credential" and found["state"] == "in_review"
    assert wrong["error"]["reason"] == "PROOF_INVALID"


def test_files_are_judged_without_a_daemon(lab: Lab) -> None:
    """`policy validate` and `diff` of two files, `anchors verify`: offline, with exit codes."""
    (lab.directory / "worse.toml").write_text(laboratory.policy_text().replace('eq = "65"', 'prefix = ""'))
    (lab.directory / "wider.toml").write_text(laboratory.policy_text().replace('eq = "74"', 'in = ["74", "81"]'))
    signatures = [f"{name}.anchors.sig" for name in laboratory.OFFICERS]

    assert lab.cli("policy", "validate", "policy.toml")["ok"]
    assert not lab.cli("policy", "validate", "worse.toml", code=1)["ok"]
    assert any(one["loosening"] for one in lab.cli("policy", "diff", "wider.toml", "policy.toml")["differences"])
    assert lab.cli("anchors", "verify", "anchors.json", *signatures)["ok"]
    missing = lab.cli("anchors", "verify", "anchors.json", *signatures[:2], code=1)
    assert missing["error"]["reason"] == "ANCHORS_THRESHOLD"


def test_a_policy_is_compared_by_meaning_and_tried_on_the_records(lab: Lab) -> None:
    """A repository more is a loosening and takes the root quorum; what was signed would still be signed."""
    with lab.client("builder") as client:
        client.sign(digest_of("recorded"), line=APP)
    looser = laboratory.policy_text().replace('eq = "74"', 'in = ["74", "81"]')
    nobody = laboratory.policy_text().replace(uri("builder"), uri("stranger"))
    stella = lab.people.of("stella")

    differences = stella.diff_policy(looser.encode())
    change = lab.people.propose("stella", "policy.change", c.PolicyRequest(policy=looser))

    assert any(one.loosening and "81" in one.text for one in differences)
    assert "among officers" in change.missing
    assert stella.simulate(looser.encode()).changed == []
    assert {one.line for one in stella.simulate(nobody.encode()).changed} == {APP}
    with pytest.raises(Malformed):  # of a log that is not here, nothing is as good as no change
        stella.simulate(looser.encode(), "elsewhere")
    lab.people.of("stella").withdraw(change.change_id, "only a test")


# ---- stops -----------------------------------------------------------------------------------------------------------


def test_one_person_stops_and_a_quorum_starts_again(lab: Lab) -> None:
    """L6 over the wire: suspended by one, refused at once; a quorum resumes it, but not within 300 seconds (L2)."""
    with lab.client("builder") as client:
        client.sign(digest_of("before"), line=APP)
        lab.people.of("rena").suspend_key("app-1", "is it clean?")
        with pytest.raises(Precondition) as stopped:
            client.sign(digest_of("after"), line=APP)
    assert stopped.value.reason == "KEY_NOT_ACTIVE"
    with pytest.raises(Precondition) as twice:
        lab.people.of("rena").suspend_key("app-1", "again")
    assert twice.value.reason == "ILLEGAL_MOVE"
    with pytest.raises(NotPermitted):
        lab.people.propose("rena", "key.resume", c.KeyAct(key="app-1", line=APP))
    with pytest.raises(Precondition) as early:
        lab.people.decide("key.resume", c.KeyAct(key="app-1", line=APP), by="olga", approved_by=("rita", "rob"))
    assert early.value.reason == "STOP_TOO_YOUNG"


def test_an_offboarded_person_is_out(lab: Lab) -> None:
    """His next call is refused, and his roles are gone for good."""
    lab.people.decide("access.enrol", enrolment("mallory"))
    lab.people.of("olga").offboard("person:mallory", "left")

    found = next(one for one in lab.people.of("olga").governance().identities if one.identity == "person:mallory")
    assert found.state == "offboarded"
    with pytest.raises(Precondition):
        lab.people.of("olga").suspend_identity("person:mallory", "again")


# ---- what stands at start --------------------------------------------------------------------------------------------


def test_approvers_are_told_outside() -> None:
    """[governance] webhook: one small document for each change that waits; a receiver that is away holds up nothing."""
    heard: list[dict[str, Any]] = []

    def receive(request: BaseHTTPRequestHandler) -> None:
        heard.append(msgspec.json.decode(request.rfile.read(int(request.headers["Content-Length"]))))
        request.send_response(204)
        request.end_headers()

    quiet = {"do_POST": receive, "log_message": lambda *_: None}
    server = HTTPServer(("127.0.0.1", 0), type("Receiver", (BaseHTTPRequestHandler,), quiet))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Lab(settled=False, settings=f'webhook = "http://127.0.0.1:{server.server_port}/hook"') as lab:
            change = lab.people.propose("olga", "access.enrol", enrolment("hanna"))
            wait_until(lambda: len(heard) == 1)
            server.shutdown()
            server.server_close()
            assert lab.people.propose("olga", "access.enrol", enrolment("hans")).state == "in_review"
    finally:
        server.server_close()

    assert heard == [
        {
            "deployment": laboratory.DEPLOYMENT, "change_id": change.change_id, "kind": "access.enrol", "line": "",
            "summary": change.summary, "missing": change.missing,
        }
    ]  # fmt: skip
