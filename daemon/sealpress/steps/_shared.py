"""What every step sees of the node: its clock and limits, its logs and lines, the snapshot by which it decides.

Guarantees: a ticket leaves `live` only when its outcome is durable or it never will have one. Owned by the event loop's
thread. Does not: decide anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from sealpress.config import Limits
from sealpress.errors import Damaged, Refusal
from sealpress.governance.snapshot import Snapshot
from sealpress.governance.state import State
from sealpress.governance.usage import Ledger
from sealpress.ports import Clock, Entropy
from sealpress.steps._jobs import Jobs
from sealpress.steps._request import Caller
from sealpress.steps._ticket import Line, LogState, Ticket
from sealpress.steps._witnesses import Witnesses
from sealpress.telemetry import Telemetry
from sealpress.tlog.record import NANOSECONDS
from sealpress.verify.evidence import Evidence, no_evidence

FORMER_KEYS_MAX = 16  # of a line, told to who asks for its key


class Governing(Protocol):
    """What the steps need of the office of a governed node (_office.py)."""

    state: State
    jobs: Jobs

    def usable(self, line: Line) -> bool:
        """Whether the log knows this key of our configuration, and as the same."""
        ...

    def held(self, key: str) -> bool:
        """Whether leaves of this key are not to be sealed."""
        ...

    def ended(self, grant: str, identity: str, line: str) -> Refusal | None:
        """Why a grant that no snapshot has any more is over; None if it is not this identity's."""
        ...

    def check_again(self, grant: str, key: str) -> None:
        """Refuse what was permitted once, if its grant was revoked or its key stopped since then."""
        ...

    async def alert(self, name: str, subject: str, text: str) -> None:
        """Write that something needs looking after."""
        ...

    async def tick(self) -> None:
        """What is due by now."""
        ...

    async def keep(self) -> None:
        """Write the state to a file that a start can trust."""
        ...


@dataclass(slots=True)
class Shared:
    """What every step sees of the node."""

    clock: Clock
    entropy: Entropy
    limits: Limits
    telemetry: Telemetry
    snapshot: Snapshot
    logs: dict[str, LogState]
    governance: LogState
    lines: dict[str, Line]
    ready: Callable[[str], bool]  # whether a key can sign now
    why: Callable[[str], str]  # ... and by what reason of the signer's it cannot
    leaf_age_s_max: int
    outcome_delay_ms: int
    release_outcome: bool
    slot_deadline_ms: int = 10_000
    leaves_per_advance_max: int = 2_048
    evidence: Callable[[str], Evidence | None] = no_evidence  # approvals of a change, for the signer's own check
    keys: list[Line] = field(default_factory=list)  # every key; `lines` has the one that counts now
    ledger: Ledger = field(default_factory=Ledger)
    office: Governing | None = None  # of a governed node
    witnesses: Witnesses | None = None
    witness_interval_ms: int = 1_000
    hold_ms_max: int = 240_000  # a caller waits so long for witnesses
    veto: Callable[[Mapping[str, Any]], str] | None = None  # [governance] veto
    live: dict[tuple[str, str], Ticket] = field(default_factory=dict)  # (identity, request id): see `forget`
    failed: Damaged | None = None
    draining: bool = False
    turned_away: int = 0  # calls and items that came meanwhile
    _by_key_id: dict[bytes, Line] = field(init=False)
    _by_name: defaultdict[str, list[Line]] = field(init=False)

    def __post_init__(self) -> None:
        """A public key stands once in an installation, so its id says whose it is."""
        self._by_key_id = {line.key_id: line for line in self.keys}
        self._by_name = defaultdict(list)
        for line in self.keys:
            self._by_name[line.name].append(line)

    def line_of(self, name: str, key_id: bytes) -> Line | None:
        """The line with that very key, whichever counts now."""
        line = self._by_key_id.get(key_id)
        return line if line is not None and line.name == name else None

    def former(self, line: Line) -> list[Line]:
        """The same line with keys that it had and whose signatures still hold; the last of the configuration first."""
        office = self.office
        if office is None:
            return []
        keys = office.state.keys
        mine = (one for one in reversed(self._by_name[line.name]) if one is not line and office.usable(one))
        return list(islice((one for one in mine if keys[one.key].public_state == "verify_only"), FORMER_KEYS_MAX))

    def key_state(self, line: Line) -> str:
        """The state of a line's key; without governance every key is active."""
        found = self.office.state.keys.get(line.key) if self.office is not None else None
        if self.office is None:
            return "active"
        return found.state if found is not None else "unknown"

    def may_audit(self, caller: Caller) -> bool:
        """Whether he may read the logs now."""
        return self.snapshot.may_audit(caller.identity.id, self.second())

    def second(self) -> int:
        """Unix seconds; never behind the records of governance, whose grants begin at them."""
        return max(self.clock.now_ns() // NANOSECONDS, self.governance.head.time)

    def forget(self, ticket: Ticket) -> None:
        """From now on the log answers for it."""
        if self.live.get(ticket.key) is ticket:
            del self.live[ticket.key]
