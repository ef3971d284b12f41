"""The same client for code without an event loop: `AsyncClient` on a thread of its own.

Guarantees: the methods, checks and errors of `AsyncClient`. Does not: differ from it in anything but the calling.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from sealpress.client.aio import ATTEMPTS_MAX, TIMEOUT_S, AsyncClient
from sealpress.client.answers import LineInfo, Signed, SignedBatch
from sealpress.client.config import ClientConfig
from sealpress.client.stream import UNNAMED, StreamAnswer, StreamItem
from sealpress.v1 import audit_pb2
from sealpress.values import Artifact, DigestAlgorithm

T = TypeVar("T")
SHA256 = DigestAlgorithm.SHA256


class Client:
    """Use as a context manager; may be shared between threads."""

    def __init__(self, config: ClientConfig, *, attempts_max: int = ATTEMPTS_MAX, timeout_s: float = TIMEOUT_S) -> None:
        """As AsyncClient."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sealpress-client", daemon=True)
        self._thread.start()

        async def make() -> AsyncClient:
            return AsyncClient(config, attempts_max=attempts_max, timeout_s=timeout_s)

        try:
            self._client = self._run(make())
        except BaseException:
            self._stop()
            raise
        self.config = config

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connections and end the thread."""
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; a second call does nothing."""
        if not self._loop.is_closed():
            self._run(self._end())
            self._stop()

    async def _end(self) -> None:
        """Close the connections, and let what was broken off in its midst come to its end."""
        await self._client.close()
        await self._loop.shutdown_asyncgens()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> tuple[bool, T | None]:
            try:
                return True, await anext(source)
            except StopAsyncIteration:
                return False, None

        while True:
            more, item = self._run(following())
            if not more:
                return
            yield item  # type: ignore[misc]

    def keys(self) -> list[LineInfo]:
        """As AsyncClient.keys."""
        return self._run(self._client.keys())

    def key(self, line: str | None = None) -> LineInfo:
        """As AsyncClient.key."""
        return self._run(self._client.key(line))

    def sign(
        self,
        digest: bytes,
        algorithm: DigestAlgorithm = SHA256,
        *,
        line: str | None = None,
        request_id: str = "",
        artifact: Artifact = UNNAMED,
        security_version: int = 0,
        grant_id: str = "",
    ) -> Signed:
        """As AsyncClient.sign."""
        return self._run(
            self._client.sign(
                digest,
                algorithm,
                line=line,
                request_id=request_id,
                artifact=artifact,
                security_version=security_version,
                grant_id=grant_id,
            )
        )

    def sign_batch(
        self,
        digests: bytes,
        algorithm: DigestAlgorithm = SHA256,
        *,
        line: str | None = None,
        request_id: str = "",
        names: tuple[str, ...] = (),
        sizes: tuple[int, ...] = (),
        security_version: int = 0,
        grant_id: str = "",
        expand: bool = False,
    ) -> SignedBatch:
        """As AsyncClient.sign_batch."""
        return self._run(
            self._client.sign_batch(
                digests,
                algorithm,
                line=line,
                request_id=request_id,
                names=names,
                sizes=sizes,
                security_version=security_version,
                grant_id=grant_id,
                expand=expand,
            )
        )

    def sign_stream(self, items: Iterable[StreamItem], *, line: str | None = None) -> Iterator[StreamAnswer]:
        """As AsyncClient.sign_stream; `items` is consumed on the client's thread."""
        return self._iterate(self._client.sign_stream(items, line=line))

    def sign_content(
        self,
        content: Iterable[bytes],
        algorithm: DigestAlgorithm = SHA256,
        *,
        line: str | None = None,
        request_id: str = "",
        artifact: Artifact = UNNAMED,
        expected: bytes = b"",
    ) -> Signed:
        """As AsyncClient.sign_content."""
        return self._run(
            self._client.sign_content(
                content, algorithm, line=line, request_id=request_id, artifact=artifact, expected=expected
            )
        )

    def get_checkpoint(self, log: str = "") -> bytes:
        """As AsyncClient.get_checkpoint."""
        return self._run(self._client.get_checkpoint(log))

    def get_proof(self, leaf_index: int, tree_size: int = 0, log: str = "") -> audit_pb2.GetProofResponse:
        """As AsyncClient.get_proof."""
        return self._run(self._client.get_proof(leaf_index, tree_size, log))

    def get_consistency(self, old_size: int, new_size: int = 0, log: str = "") -> audit_pb2.GetConsistencyResponse:
        """As AsyncClient.get_consistency."""
        return self._run(self._client.get_consistency(old_size, new_size, log))

    def explain(
        self,
        *,
        digest: tuple[DigestAlgorithm, bytes] | None = None,
        event_id: str = "",
        signature_sha256: bytes = b"",
    ) -> list[audit_pb2.LogEvent]:
        """As AsyncClient.explain."""
        return self._run(self._client.explain(digest=digest, event_id=event_id, signature_sha256=signature_sha256))

    def get_status(self) -> audit_pb2.GetStatusResponse:
        """As AsyncClient.get_status."""
        return self._run(self._client.get_status())

    def tail(self, from_seq: int = 0, *, follow: bool = False, log: str = "") -> Iterator[audit_pb2.LogEvent]:
        """As AsyncClient.tail."""
        return self._iterate(self._client.tail(from_seq, follow=follow, log=log))
