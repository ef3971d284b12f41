"""The grants of jobs of class low (DECISIONS/0011): one each, and as many in one act as wait for one.

Guarantees: whoever waits hears of his grant, or of what stands against it, whatever that is; what stands against one
stands against it alone. Does not: decide who may have one (governance/grants.py does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice

from sealpress.errors import Malformed, SealpressError
from sealpress.governance import grants, releases
from sealpress.governance.desk import Desk
from sealpress.governance.facts import Fact
from sealpress.steps._acts import Rule, readable
from sealpress.values import Identity

JOBS_MAX = 64  # whose grants are written together


class Jobs:
    """Those who wait for a grant. Owned by the event loop's thread."""

    def __init__(self, act: Callable[[Rule[None]], Awaitable[None]]) -> None:
        """`act`: of the office, until the facts are in force."""
        self._act = act
        self._jobs: dict[tuple[bytes, str], _Job] = {}  # that wait for a grant, by credential and line
        self._issuing: asyncio.Task[None] | None = None

    async def grant(self, identity: Identity, line: str, rule: str) -> str:
        """The grant of this job on a line of class low: the one that it has, or a new one (DECISIONS/0011)."""
        key = (identity.credential, line)
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(identity, line, rule, asyncio.get_running_loop().create_future())
        if self._issuing is None:
            self._issuing = asyncio.get_running_loop().create_task(self._issue())
        return await asyncio.shield(job.grant)

    async def _issue(self) -> None:
        """Grants of jobs, as many in one act as wait for one."""
        try:
            while self._jobs:
                jobs = list(islice(self._jobs.items(), JOBS_MAX))
                await self._issue_together([job for _, job in jobs])
                for key, _ in jobs:
                    del self._jobs[key]
        finally:
            self._issuing = None

    async def _issue_together(self, jobs: list[_Job]) -> None:
        """Each gets its grant, or what stands against it."""
        names: dict[int, str] = {}

        def issue(desk: Desk) -> tuple[None, list[Fact]]:
            facts: list[Fact] = []
            for number, job in enumerate(jobs):
                try:
                    names[number], found = job.issue(desk)
                    readable(found)
                except SealpressError as error:
                    job.fail(error)
                else:
                    facts += found
            return None, facts

        try:
            await self._act(issue)
        except Exception as error:  # whoever waits must hear of it, whatever it is
            if isinstance(error, Malformed) and len(jobs) > 1:  # together they are too long for a short segment
                for job in jobs:
                    await self._issue_together([job])
                return
            for job in jobs:
                job.fail(error)
        for number, job in enumerate(jobs):
            if not job.grant.done():
                job.grant.set_result(names[number])


class _Job:
    """The first requests of a credential on a line, which wait for one grant."""

    __slots__ = ("_identity", "_line", "_rule", "grant")

    def __init__(self, identity: Identity, line: str, rule: str, grant: asyncio.Future[str]) -> None:
        self._identity, self._line, self._rule = identity, line, rule
        self.grant = grant

    def issue(self, desk: Desk) -> tuple[str, list[Fact]]:
        """Under the rule that the first of them was admitted by, if there is still one of that name."""
        first = grants.matched(desk, self._identity, self._line)
        known = desk.rules(self._line).rule(self._rule) or first
        return grants.job(desk, self._identity, self._line, known, min(known.ttl_s_max, releases.HOUR_S))

    def fail(self, error: Exception) -> None:
        """Tell all of them, unless they know already."""
        if not self.grant.done():
            self.grant.set_exception(error)
            self.grant.exception()  # nobody may be waiting any more
