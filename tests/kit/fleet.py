"""A fleet of CI jobs, a build farm and an auditor on one governed node, whatever happens to that node meanwhile.

Jobs begin at random moments that were drawn before (open loop). Each has a token, a connection and some calls of its
own: Sign, SignBatch, SignStream, SignContent. The farm asks for batches over one connection with a certificate, for as
long as the fleet lives. The auditor follows the log, and asks to explain what was just signed. Some jobs are of a
repository that has no right.

Guarantees: AssertionError at once where a proof does not verify offline under the published trust file of a key, two
checkpoints of one size differ, a refusal has a reason that no retry policy knows, an answer takes longer than
PATIENCE_S, the auditor is told a record twice or out of order, or Explain does not know what was signed. Whoever has no
answer asks again with the same request id. Does not: disturb the node.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from kit.crowd import Heads
from kit.issuer import Issuer
from kit.laboratory import SHA256, Lab
from sealpress.client import AsyncClient, StreamItem, load_client
from sealpress.core.proof import parse_proof
from sealpress.errors import Invalid, NotPermitted, Refusal, SealpressError
from sealpress.verify.policy import TrustPolicy, load_policy
from sealpress.verify.proof import verify_proof
from sealpress.wiring import lab_charter
from sealpress.wiring.lab_charter import APP

# Of those that protos/README.md tells to come back from, the ones that restarts, kills and new keys may bring about.
PASSES = frozenset(
    {
        "SLOT_DOWN",
        "SHUTTING_DOWN",
        "STREAM_ENDED",
        "ISSUER_DOWN",
        "QUEUE_FULL",
        "GRANT_ENDED",
        "CONNECTION_LOST",
        "UNREACHABLE",
    }
)
CLOSED = ("Socket closed", "Connection reset by peer", "Broken pipe")
PATIENCE_S = 40.0  # for an answer, over all that is asked again
TIMEOUT_S = 20.0  # of one call
PAUSE_S = 0.1  # at least, before the same is asked again
CALLS = 5  # of a job
TOKEN_S = 120  # a job's token, and so its grant
JOBS_MAX = 400  # under way
FARM_ITEMS = 50
FARM_PAUSE_S = 0.5
BATCH_MAX = 20
STREAM_MAX = 4
CONTENT_BYTES_MAX = 200_000
STRANGERS = 0.02  # of all jobs
EXPLAIN_PAUSE_S = 1.0
RECENT = 200
OTHERS_REPOSITORY = "75"


@dataclass(frozen=True, slots=True)
class Told:
    """What was acknowledged: of it the log must say the same."""

    request_id: str
    first_leaf: int
    count: int
    event_id: str


class Fleet:
    """All callers of one node; `live` until `end`."""

    def __init__(self, lab: Lab, issuer: Issuer, origin: str, jobs_per_s: float, dice: random.Random) -> None:
        """`issuer` makes the jobs' tokens; nobody asks before `live`."""
        self.heads = Heads(origin)
        self.told: dict[str, Told] = {}
        self.followed: list[tuple[int, str]] = []  # what the auditor was told: seq and type
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.waited_s_max = 0.0
        self._lab = lab
        self._issuer = issuer
        self._jobs_per_s = jobs_per_s
        self._dice = dice
        self._job_config = load_client(lab.directory / "ci.toml")
        self._trust: dict[Path, TrustPolicy] = {}
        self._recent: deque[tuple[Told, bytes]] = deque(maxlen=RECENT)
        self._ended = asyncio.Event()
        self._auditing = asyncio.Event()
        self._deeds: tuple[Callable[[AsyncClient, str, int], Awaitable[None]], ...] = (
            self._sign, self._sign, self._sign, self._batch, self._stream, self._content
        )  # fmt: skip

    # ---- its life ----

    async def live(self) -> None:
        """Until `end`, and until each has his last answer; raises what one of them found."""
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow())
            explaining = tasks.create_task(self._explain())
            async with asyncio.TaskGroup() as callers:
                callers.create_task(self._farm())
                callers.create_task(self._arrivals(callers))
            await self._caught_up()
            self._auditing.set()
            following.cancel()
            await explaining

    def end(self) -> None:
        """Nothing new is asked for."""
        self._ended.set()

    async def _arrivals(self, jobs: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(JOBS_MAX)

        async def one(number: int) -> None:
            try:
                await self._job(number)
            finally:
                room.release()

        due, number = time.monotonic(), 0
        while not self._ended.is_set():
            due += self._dice.expovariate(self._jobs_per_s)
            await asyncio.sleep(due - time.monotonic())
            if room.locked():
                self.counts["late jobs"] += 1
            await room.acquire()
            number += 1
            jobs.create_task(one(number))

    # ---- a job ----

    async def _job(self, number: int) -> None:
        """A token of its own, and what a pipeline's run has signed with it."""
        stranger = self._dice.random() < STRANGERS
        path = self._lab.directory / "ci" / f"job-{number}.jwt"
        path.write_text(self._token(number, stranger=stranger))
        config = replace(self._job_config, token=str(path), line=APP)
        # Half of them leave it to the client to ask again, half see each refusal.
        attempts_max = self._dice.choice((1, 8))
        try:
            async with AsyncClient(config, attempts_max=attempts_max, timeout_s=TIMEOUT_S) as client:
                if stranger:
                    await self._refused(client)
                    return
                await self._until_answered(path.stem, partial(self._learn, client))
                for call in range(CALLS):
                    await self._dice.choice(self._deeds)(client, f"job-{number}-{call}", number)
            self.counts["jobs"] += 1
        finally:
            path.unlink()

    async def _learn(self, client: AsyncClient) -> None:
        """The key first, as `sealpress sign` does: an answer may be of one that another follows at that moment."""
        await client.key()

    def _token(self, number: int, *, stranger: bool) -> str:
        now_s = int(time.time())
        other = {"repository_id": OTHERS_REPOSITORY} if stranger else {}
        return self._issuer.token(
            aud=lab_charter.AUDIENCE, run_id=str(number), iat=now_s, nbf=now_s, exp=now_s + TOKEN_S, **other
        )

    async def _refused(self, client: AsyncClient) -> None:
        """Who has no right is told so, and of nothing else but what passes."""
        digest = self._dice.randbytes(32)

        async def ask() -> None:
            try:
                await client.sign(digest, request_id="stranger")
            except NotPermitted as refusal:
                assert refusal.reason == "NOT_PERMITTED"
                self.counts["strangers"] += 1
            else:
                raise AssertionError("a job without right got a signature")

        await self._until_answered("stranger", ask)

    async def _sign(self, client: AsyncClient, name: str, _number: int) -> None:
        digest = self._dice.randbytes(32)

        async def ask() -> None:
            signed = await client.sign(digest, request_id=name)
            self._answered(name, signed.leaf_index, signed.event_id, [digest], [signed.document])

        await self._until_answered(name, ask)

    async def _batch(self, client: AsyncClient, name: str, _number: int) -> None:
        await self._batch_of(client, name, self._dice.randint(2, BATCH_MAX))

    async def _batch_of(self, client: AsyncClient, name: str, count: int) -> None:
        digests = [self._dice.randbytes(32) for _ in range(count)]

        async def ask() -> None:
            signed = await client.sign_batch(b"".join(digests), request_id=name)
            self._answered(name, signed.first_leaf_index, signed.event_id, digests, signed.documents)

        await self._until_answered(name, ask)

    async def _stream(self, client: AsyncClient, name: str, _number: int) -> None:
        """Several on one call; those without an answer are sent again on the next."""
        count = self._dice.randint(2, STREAM_MAX)
        left = {f"{name}-{at}": StreamItem(self._dice.randbytes(32), SHA256, f"{name}-{at}") for at in range(count)}

        async def ask() -> None:
            errors = []
            async for answer in client.sign_stream(list(left.values())):
                item, signed = answer.item, answer.signed
                if signed is None:
                    errors.append(answer.error)
                    continue
                del left[item.request_id]
                self._answered(item.request_id, signed.leaf_index, signed.event_id, [item.digest], [signed.document])
            for error in errors:
                assert error is not None
                raise error

        await self._until_answered(name, ask)

    async def _content(self, client: AsyncClient, name: str, _number: int) -> None:
        content = self._dice.randbytes(self._dice.randint(1, CONTENT_BYTES_MAX))
        digest = hashlib.sha256(content).digest()

        async def ask() -> None:
            signed = await client.sign_content([content], request_id=name)
            self._answered(name, signed.leaf_index, signed.event_id, [digest], [signed.document])

        await self._until_answered(name, ask)

    # ---- the farm ----

    async def _farm(self) -> None:
        """One connection for the whole time, as a build farm has it."""
        number = 0
        async with AsyncClient(load_client(self._lab.directory / "builder.toml"), timeout_s=TIMEOUT_S) as client:
            while not self._ended.is_set():
                number += 1
                await self._batch_of(client, f"farm-{number}", FARM_ITEMS)
                self.counts["farm batches"] += 1
                await asyncio.sleep(FARM_PAUSE_S)

    # ---- the auditor ----

    async def _follow(self) -> None:
        """The whole log from its first record on, each once, over all restarts."""
        async with AsyncClient(load_client(self._lab.directory / "auditor.toml"), timeout_s=TIMEOUT_S) as client:
            next_seq = 0
            while True:
                try:
                    async for event in client.tail(next_seq, follow=True, log=lab_charter.MAIN):
                        assert event.seq >= next_seq, f"record {event.seq} was told again"
                        next_seq = event.seq + 1
                        self.followed.append((event.seq, event.type))
                        if event.type == "request":
                            self.counts["followed requests"] += 1
                    raise AssertionError("following ended by itself")
                except SealpressError as error:
                    await self._failed(error)

    async def _caught_up(self) -> None:
        """The auditor was told of all that was acknowledged."""
        async with asyncio.timeout(PATIENCE_S):
            while self.counts["followed requests"] < len(self.told):  # noqa: ASYNC110 - both grow elsewhere
                await asyncio.sleep(PAUSE_S)

    async def _explain(self) -> None:
        """Now and then: what is known of something just signed, by its digest or its event's id."""
        async with AsyncClient(load_client(self._lab.directory / "auditor.toml"), timeout_s=TIMEOUT_S) as client:
            while not self._auditing.is_set():
                await asyncio.sleep(EXPLAIN_PAUSE_S)
                if self._recent:
                    told, digest = self._dice.choice(self._recent)
                    try:
                        await self._explained(client, told, digest)
                    except SealpressError as error:
                        await self._failed(error)

    async def _explained(self, client: AsyncClient, told: Told, digest: bytes) -> None:
        if self._dice.random() < 0.5:
            events = await client.explain(digest=(SHA256, digest))
        else:
            events = await client.explain(event_id=told.event_id)
        ids = {json.loads(event.json)["event"]["request_id"] for event in events if event.type == "request"}
        assert ids == {told.request_id}, f"{told} is explained as {ids}"
        self.counts["explained"] += 1

    # ---- what all of them do ----

    async def _until_answered(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        began = time.monotonic()
        while True:
            self.counts["calls"] += 1
            try:
                await ask()
            except SealpressError as error:
                waited_s = time.monotonic() - began
                assert waited_s < PATIENCE_S, f"{name} has no answer after {waited_s:.0f} s: {error.reason} {error}"
                await self._failed(error)
            else:
                self.waited_s_max = max(self.waited_s_max, time.monotonic() - began)
                return

    async def _failed(self, error: SealpressError) -> None:
        """Wait as long as the refusal says; whatever does not pass is an error of the node."""
        self.reasons[error.reason] += 1
        details = getattr(error.__context__, "details", str)()
        if error.reason == "HANDSHAKE_REFUSED" and details.endswith(CLOSED):
            self.reasons["closed in the handshake"] += 1  # as a refusal looks, and as a daemon that is killed then
            await asyncio.sleep(PAUSE_S)
            return
        said = f"{type(error).__name__} {error.reason}: {error.message} ({error.hint}); {error.__context__!r}"
        assert error.reason in PASSES, said
        delay_ms = error.retry_after_ms if isinstance(error, Refusal) else 0
        await asyncio.sleep(max(PAUSE_S, delay_ms / 1_000))

    def _answered(self, name: str, first: int, event_id: str, digests: list[bytes], documents: list[bytes]) -> None:
        """Acknowledged: each proof holds without the daemon, for this very leaf."""
        assert len(documents) == len(digests)
        for position, (digest, document) in enumerate(zip(digests, documents, strict=True)):
            assert self._index(digest, document) == first + position
            self.heads.saw(parse_proof(document).checkpoint)
            self.counts["proofs"] += 1
        told = self.told[name] = Told(name, first, len(digests), event_id)
        self._recent.append((told, digests[0]))

    def _index(self, digest: bytes, document: bytes) -> int:
        """The leaf of a proof that verifies with the trust file of one of the line's keys, the newest first."""
        for trust in reversed(self._trust.values()):
            try:
                return verify_proof(trust, SHA256, digest, document).index
            except Invalid:
                continue
        published = sorted((self._lab.directory / "trust").glob("app-*.policy"))
        fresh = {path: load_policy(path) for path in published if path not in self._trust}
        assert fresh, "a proof does not verify under the trust file of any key"
        self._trust |= fresh
        return self._index(digest, document)
