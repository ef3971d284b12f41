"""The client library: `Client` (sync) and `AsyncClient`, configured by a client.toml."""

from sealpress.client.aio import AsyncClient
from sealpress.client.answers import LineInfo, Signed, SignedBatch
from sealpress.client.config import ClientConfig, load_client
from sealpress.client.stream import StreamAnswer, StreamItem
from sealpress.client.sync import Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientConfig",
    "LineInfo",
    "Signed",
    "SignedBatch",
    "StreamAnswer",
    "StreamItem",
    "load_client",
]
