"""Can everything that a governed node knows be seen by those who may, and judged without it?"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from kit.laboratory import (
    Lab,
    digest_of,
    enrolment,
)
from sealpress.cli.governing import sign_with
from sealpress.errors import Malformed, NotPermitted
from sealpress.governance import changes as c
from sealpress.verify import statement
from sealpress.wiring import lab_charter, laboratory
from sealpress.wiring.certificates import make_authority
from sealpress.wiring.lab_charter import APP, FIRMWARE, PEOPLE, uri


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
    (lab.directory / "worse.toml").write_text(lab_charter.policy_text().replace('eq = "65"', 'prefix = ""'))
    (lab.directory / "wider.toml").write_text(lab_charter.policy_text().replace('eq = "74"', 'in = ["74", "81"]'))
    signatures = [f"{name}.anchors.sig" for name in lab_charter.OFFICERS]

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
    looser = lab_charter.policy_text().replace('eq = "74"', 'in = ["74", "81"]')
    nobody = lab_charter.policy_text().replace(uri("builder"), uri("stranger"))
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
