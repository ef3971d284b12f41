"""Does a governed node keep its three powers apart, over the wire?"""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import empty_pb2

from kit.laboratory import (
    Lab,
    told,
)
from sealpress.client import load_client
from sealpress.client.tls import credentials
from sealpress.v1 import access_pb2, approval_pb2, issuance_pb2, policy_pb2, retirement_pb2
from sealpress.wiring.lab_charter import uri

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
ANYBODY = {"GetRoles", "RevokeCredential"}  # of oneself


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
