"""What is remembered of tokens that were seen: whose each `jti` is, and how often wrong ones were shown.

Guarantees: an unexpired `jti` is never forgotten: when there is no room, new tokens wait, and one owner's cannot take
all of it; a token that may have been forgotten is not let in again; signature checks that fail are bounded a second,
for each host and for all. Does not: read tokens.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import unquote

from sealpress.errors import Busy
from sealpress.ports import Clock

TOKENS_MAX = 262_144
TOKENS_PER_OWNER_MAX = 65_536
KEPT_AFTER_END_S = 120
FAILURES_PER_S, FAILURES_BURST = 200.0, 400.0
HOST_FAILURES_PER_S, HOST_FAILURES_BURST = 5.0, 20.0
HOSTS_MAX = 4_096
RETRY_MS = 1_000
NANOSECONDS = 1_000_000_000

Owner = tuple[str, str]  # issuer and owner id
Use = tuple[str, str]  # issuer, and jti or the hash of what is signed


@dataclass(slots=True)
class _Seen:
    token_sha256: bytes
    consumed: bool = False


class Uses:
    """Which token each `jti` belongs to, until that has ended for KEPT_AFTER_END_S."""

    def __init__(self, tokens_max: int = TOKENS_MAX, owner_max: int = TOKENS_PER_OWNER_MAX) -> None:
        """Nothing was seen."""
        self._tokens_max = tokens_max
        self._owner_max = owner_max
        self._seen: dict[Use, _Seen] = {}
        self._ends: list[tuple[int, Use, Owner]] = []  # a heap
        self._owners: Counter[Owner] = Counter()
        self._forgotten_s = 0

    def __len__(self) -> int:
        return len(self._seen)

    def check_room(self, use: Use, owner: Owner, now_s: int) -> None:
        """Busy TOKENS_FULL if this token is new and there is no room for it."""
        self._forget(now_s)
        if use not in self._seen and (len(self._seen) >= self._tokens_max or self._owners[owner] >= self._owner_max):
            raise Busy(
                "too many tokens were shown in the last minutes",
                reason="TOKENS_FULL",
                hint="use one token for all calls of a job; ask again after the delay",
                retry_after_ms=RETRY_MS,
            )

    def see(self, use: Use, owner: Owner, token_sha256: bytes, ends_s: int) -> bool:
        """Remember; False if another token had the same `jti`, or if this one may have been forgotten already."""
        seen = self._seen.get(use)
        if seen is not None:
            return seen.token_sha256 == token_sha256
        until_s = ends_s + KEPT_AFTER_END_S
        if until_s <= self._forgotten_s:
            return False
        self._seen[use] = _Seen(token_sha256)
        self._owners[owner] += 1
        heapq.heappush(self._ends, (until_s, use, owner))
        return True

    def consume(self, use: Use) -> bool:
        """The one use that a token has for some purposes; False if it was had, or the token is unknown."""
        seen = self._seen.get(use)
        if seen is None or seen.consumed:
            return False
        seen.consumed = True
        return True

    def give_back(self, use: Use) -> None:
        """That use came to nothing."""
        seen = self._seen.get(use)
        if seen is not None:
            seen.consumed = False

    def _forget(self, now_s: int) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            until_s, use, owner = heapq.heappop(self._ends)
            self._forgotten_s = max(self._forgotten_s, until_s)
            del self._seen[use]
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]


@dataclass(slots=True)
class _Bucket:
    left: float
    at_ns: int


class Budget:
    """How many signature checks may fail: a leaking bucket for each host and one for all."""

    def __init__(self, clock: Clock) -> None:
        """Full."""
        self._clock = clock
        self._all = _Bucket(FAILURES_BURST, clock.monotonic_ns())
        self._hosts: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, source: str) -> None:
        """Busy TOKEN_CHECKS if this host, or all together, showed too many wrong tokens."""
        now_ns = self._clock.monotonic_ns()
        _fill(self._all, FAILURES_PER_S, FAILURES_BURST, now_ns)
        bucket = self._hosts.get(host_of(source))
        if bucket is not None:
            _fill(bucket, HOST_FAILURES_PER_S, HOST_FAILURES_BURST, now_ns)
        if self._all.left < 1 or (bucket is not None and bucket.left < 1):
            raise Busy(
                "too many wrong tokens were shown",
                reason="TOKEN_CHECKS",
                hint="ask again after the delay, with a token of the CI for this daemon",
                retry_after_ms=RETRY_MS,
            )

    def failed(self, source: str) -> None:
        """A check failed."""
        host = host_of(source)
        bucket = self._hosts.get(host)
        if bucket is None:
            bucket = self._hosts[host] = _Bucket(HOST_FAILURES_BURST, self._clock.monotonic_ns())
            if len(self._hosts) > HOSTS_MAX:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(host)
        bucket.left -= 1
        self._all.left -= 1


def _fill(bucket: _Bucket, per_s: float, burst: float, now_ns: int) -> None:
    bucket.left = min(burst, bucket.left + (now_ns - bucket.at_ns) * per_s / NANOSECONDS)
    bucket.at_ns = now_ns


def host_of(source: str) -> str:
    """The host of a gRPC peer: "ipv4:192.0.2.1", or the /64 of an IPv6 address, which is one machine's as a rule."""
    family, _, rest = source.partition(":")
    host = unquote(rest.rpartition(":")[0]).strip("[]")
    if family != "ipv6":
        return f"{family}:{host}"
    try:
        return f"ipv6:{ip_network((host.partition('%')[0], 64), strict=False)}"
    except ValueError:
        return "ipv6:"
