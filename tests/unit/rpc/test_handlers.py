"""Is SigningService served as its proto says, though it is not added by generated code?"""

from __future__ import annotations

from typing import Any

from sealpress.config import Limits
from sealpress.rpc import signing
from sealpress.rpc.signing import SigningService
from sealpress.v1 import signing_pb2_grpc


class Listed:
    """Stands for a server, and keeps what is added."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}
        self.name = ""

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """What is added, by method."""
        (service,) = handlers
        self.name, self.handlers = service.service_name(), vars(service)["_method_handlers"]

    def add_registered_method_handlers(self, name: str, handlers: dict[str, Any]) -> None:
        """The same once more, as generated code does."""


def test_every_method_is_served_as_generated_code_would() -> None:
    """The same name, methods, kinds of streams and request messages."""
    ours, generated, nothing = Listed(), Listed(), Any
    service = SigningService(nothing, nothing, Limits(), nothing)  # type: ignore[arg-type]
    signing.add_to_server(service, ours)
    signing_pb2_grpc.add_SigningServiceServicer_to_server(service, generated)  # type: ignore[no-untyped-call]

    assert ours.name == generated.name
    assert ours.handlers.keys() == generated.handlers.keys()
    for name, handler in ours.handlers.items():
        like = generated.handlers[name]
        assert (handler.request_streaming, handler.response_streaming) == (
            like.request_streaming,
            like.response_streaming,
        )
        assert handler.request_deserializer == like.request_deserializer
        assert handler.response_serializer in (None, like.response_serializer)
