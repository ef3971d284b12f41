"""Is a token of one use used once, by whomever and however often, and is its memory shared fairly?"""

from __future__ import annotations

import base64

import pytest

from kit.clock import VirtualClock
from kit.token_desk import HOME, NOW_S, Desk
from sealpress.errors import Busy
from sealpress.rpc import replay
from sealpress.values import Identity

P256_ORDER = 2**256 - 2**224 + 2**192 - 0x4319055258E8617B0C46353D039CDAAF


def test_another_token_with_the_same_jti_is_a_replay() -> None:
    """The first keeps its right; the other has a flaw, so that flow records it; other issuers have their own jti."""
    desk = Desk()
    first, other = desk.github.token(jti="a"), desk.github.token(jti="a", run_id="2")
    identity = desk.identity(first)

    assert desk.tokens.identify(other, HOME).flaw == "TOKEN_REPLAYED"
    assert desk.tokens.identify(other, HOME).flaw == "TOKEN_REPLAYED"
    assert desk.identity(first) is identity
    assert desk.identity(desk.issuers["gitlab"].token(jti="a"))


def test_a_token_is_consumed_once() -> None:
    """For what may be had once; also without a jti; never for a token that was not seen."""
    desk = Desk()
    for kind in ("github", "buildkite"):
        identity = desk.identity(desk.issuers[kind].token())
        assert [desk.tokens.consume(identity) for _ in range(3)] == [True, False, False]
    unseen = Identity("oidc:x#y", b"", NOW_S, issuer="x", token_sha256=bytes(32), jti="a")
    assert not desk.tokens.consume(unseen)


def test_a_signature_written_otherwise_makes_no_other_token() -> None:
    """What is signed tells tokens without a jti apart: an ECDSA signature can be written in a second way."""
    desk = Desk()
    token = desk.issuers["buildkite"].token()
    desk.identity(token)
    head, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    turned = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    other = f"{head}.{base64.urlsafe_b64encode(turned).decode().rstrip('=')}"

    assert desk.tokens.identify(other, HOME).flaw == "TOKEN_REPLAYED"


def test_a_jti_cannot_pass_for_a_hash() -> None:
    """A token whose jti is another token's hash does not consume that one."""
    desk = Desk()
    plain = desk.identity(desk.issuers["buildkite"].token())
    other = desk.identity(desk.issuers["buildkite"].token(jti=plain.signed_sha256.hex(), job_id="2"))

    assert desk.tokens.consume(other)
    assert desk.tokens.consume(plain)


def test_consumption_survives_in_the_log() -> None:
    """A token that was there when its pipeline asked before this start has had its use; one made later has not."""
    desk = Desk()
    before = desk.github.token()
    desk.tokens.had_s = {desk.identity(desk.github.token()).id: NOW_S}
    after = desk.github.token(iat=NOW_S + 1)

    assert [desk.tokens.consume(desk.identity(token)) for token in (before, after)] == [False, True]


def test_an_unexpired_jti_is_never_forgotten() -> None:
    """It is known until 120 s after the token's end; then there is room again, and what may be forgotten stays out."""
    uses = replay.Uses(tokens_max=3, owner_max=2)
    one, two = ("i", "one"), ("i", "two")
    for name, owner in (("a", one), ("b", one), ("c", two)):
        uses.check_room(("i", name), owner, 1_000)
        assert uses.see(("i", name), owner, name.encode(), 1_100)

    for name, owner in (("d", one), ("d", two)):
        with pytest.raises(Busy) as caught:
            uses.check_room(("i", name), owner, 1_219)
        assert caught.value.reason == "TOKENS_FULL"
        assert caught.value.retry_after_ms
    uses.check_room(("i", "a"), one, 1_219)
    assert not uses.see(("i", "a"), one, b"other", 1_100)

    uses.check_room(("i", "d"), one, 1_220)
    assert len(uses) == 0
    assert not uses.see(("i", "a"), one, b"a", 1_100)
    assert uses.see(("i", "a"), one, b"a", 1_101)


def test_one_owner_cannot_take_all_room() -> None:
    """An owner's share is bounded; the others go on."""
    desk = Desk(uses=replay.Uses(tokens_max=100, owner_max=3))
    for _ in range(3):
        desk.identity(desk.github.token(repository_owner_id="666"))

    assert desk.reason(desk.github.token(repository_owner_id="666")) == "TOKENS_FULL"
    assert desk.identity(desk.github.token())


def test_owners_may_be_listed() -> None:
    """With `owners`, tokens of all others cost no signature check."""
    desk = Desk(owners=frozenset({"65"}))

    assert desk.identity(desk.github.token())
    asked = desk.keys["github"].asked
    assert desk.reason(desk.github.token(repository_owner_id="66")) == "OWNER_UNKNOWN"
    assert desk.keys["github"].asked == asked
    assert desk.identity(desk.github.token(repository_owner_id=65))


@pytest.mark.parametrize(
    ("source", "host"),
    [
        ("ipv4:192.0.2.1:4000", "ipv4:192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3::4%5D:4000", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:1", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:[fe80::1%25eth0]:1", "ipv6:fe80::/64"),
        ("ipv6:nonsense", "ipv6:"),
        ("unix:/run/x", "unix:"),
        ("", ":"),
    ],
)
def test_hosts(source: str, host: str) -> None:
    """A port does not make another host, nor does another address of the same /64."""
    assert replay.host_of(source) == host


def test_an_owner_gets_back_as_much_room_as_was_forgotten() -> None:
    """Each token that is over makes room for one: never for two, and not beyond what one owner may have."""
    uses, mine, kept = replay.Uses(owner_max=3), ("issuer", "me"), replay.KEPT_AFTER_END_S

    def came(name: str, now_s: int, ends_s: int) -> bool:
        try:
            uses.check_room(("issuer", name), mine, now_s)
        except Busy as refusal:
            assert refusal.reason == "TOKENS_FULL"
            return False
        return uses.see(("issuer", name), mine, name.encode(), ends_s)

    assert [came(str(number), 0, 100 * (number + 1)) for number in range(4)] == [True, True, True, False]
    assert [came(f"later {number}", 100 + kept, 1_000) for number in range(2)] == [True, False]
    assert not came("0", 100 + kept, 100)  # it may be one that was forgotten
    assert [came(f"last {number}", 1_000 + kept, 2_000) for number in range(4)] == [True, True, True, False]
    uses.check_room(("issuer", "last 0"), mine, 1_000 + kept)  # it is known
    assert 3 == len(uses)


def test_checks_of_signatures_are_allowed_again_after_a_while() -> None:
    """Whoever showed wrong tokens, alone or together with others, has his next ones looked at as time passes."""
    clock = VirtualClock()
    budget = replay.Budget(clock)

    def allowed(host: str) -> bool:
        try:
            budget.check(f"ipv4:{host}:1")
        except Busy as refusal:
            assert (refusal.reason, refusal.retry_after_ms > 0) == ("TOKEN_CHECKS", True)
            return False
        return True

    for _ in range(int(replay.HOST_FAILURES_BURST)):
        assert allowed("192.0.2.1")
        budget.failed("ipv4:192.0.2.1:1")
    assert (allowed("192.0.2.1"), allowed("192.0.2.2")) == (False, True)
    clock.advance(1.1 / replay.HOST_FAILURES_PER_S)
    assert allowed("192.0.2.1")
    for number in range(int(replay.FAILURES_BURST)):
        budget.failed(f"ipv4:198.51.100.{number % 250}:1")
    assert not allowed("192.0.2.3")
    clock.advance(3 / replay.FAILURES_PER_S)
    assert allowed("192.0.2.3")
