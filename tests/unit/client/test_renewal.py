"""Is a certificate that was renewed taken by who governs, as by who signs?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509

from sealpress.client.config import ClientConfig
from sealpress.client.control import ControlClient
from sealpress.v1 import governance_pb2
from sealpress.wiring.certificates import issue, make_authority, write_authority

SERVICE = "sealpress.v1.ApprovalService"


def test_each_call_goes_with_the_certificate_as_it_is_now(tmp_path: Path) -> None:
    """Who stays for days is let in after a renewal; half of one, in which the key is the former, changes nothing."""
    authority, now = make_authority(datetime.now(UTC)), datetime.now(UTC)
    write_authority(authority, tmp_path / "ca.pem")
    issue(authority, tmp_path, "server", now=now, hosts=("127.0.0.1",), server=True)
    seen: list[bytes] = []

    def answer(_request: Any, context: Any) -> governance_pb2.GetGovernanceResponse:
        seen.append(context.auth_context()["x509_pem_cert"][0])
        return governance_pb2.GetGovernanceResponse()

    def renew() -> int:
        issue(authority, tmp_path, "client", now=now, uris=("spiffe://a/b",))
        return x509.load_pem_x509_certificate((tmp_path / "client.pem").read_bytes()).serial_number

    key, certificate, ca = [(tmp_path / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem")]
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(answer, None, lambda one: one.SerializeToString())
    server.add_registered_method_handlers(SERVICE, {"GetGovernance": handler})
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)], ca, True))
    server.start()
    serials = [renew()]
    address = f"127.0.0.1:{port}"
    config = ClientConfig(
        signing=address, control=address, ca="ca.pem", cert="client.pem", key="client.key", base=str(tmp_path)
    )
    with ControlClient(config) as client:
        client.governance()
        whole = (tmp_path / "client.key").read_bytes()
        serials.append(renew())
        half, _ = (tmp_path / "client.key").read_bytes(), (tmp_path / "client.key").write_bytes(whole)
        client.governance()
        (tmp_path / "client.key").write_bytes(half)
        client.governance()
    server.stop(None).wait()

    assert [serials[0], serials[0], serials[1]] == [x509.load_pem_x509_certificate(one).serial_number for one in seen]
