"""Does what persons sign decide, and is everybody told what waits for him?"""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import grpc
import msgspec
import pytest

from kit.laboratory import (
    Lab,
    enrolment,
    laboratory_texts,
    wait_until,
)
from sealpress.cli.governing import sign_with
from sealpress.errors import Malformed, NotPermitted, Precondition, Refusal, TransportError
from sealpress.governance import changes as c
from sealpress.governance.roles import Role
from sealpress.verify import statement
from sealpress.wiring import lab_charter


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
            "deployment": lab_charter.DEPLOYMENT, "change_id": change.change_id, "kind": "access.enrol", "line": "",
            "summary": change.summary, "missing": change.missing,
        }
    ]  # fmt: skip
