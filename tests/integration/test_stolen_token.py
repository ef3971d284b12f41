"""What can a thief do with the token of a CI job? Exactly what rule and grant allow that job, and nothing besides.

Each row is one request that somebody makes who holds a token of the pipeline (or can make the CI give him one), on a
node of its own. The row says what the node answers; the log says whether anything was signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kit.acme import AUDIENCE, ISSUER, LOW, RELEASE, ask, digest
from kit.governed import Governed
from sealpress.errors import Refusal
from sealpress.governance import stops
from sealpress.steps._request import Caller
from sealpress.values import Artifact, DigestAlgorithm, Identity, KeyClass, RecordType, SignAsk

OTHER_LINE = "acme/router/eu/prod/other"
SUBJECT = "repo:acme/router:ref:refs/tags/v1.2.0"
WORKFLOW = "acme/ci/.github/workflows/sign.yml@refs/heads/main"
CLAIMS = {
    "aud": AUDIENCE, "repository": "acme/router", "repository_id": "74", "repository_owner_id": "65",
    "ref": "refs/tags/v1.2.0", "ref_protected": "true", "job_workflow_ref": WORKFLOW,
    "runner_environment": "github-hosted", "event_name": "push", "fork": "false",
}  # fmt: skip
RULE = f"""
[line."{{line}}".rule.gha]
action = "sign"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
claims.repository_id       = {{{{ eq = "74" }}}}
claims.repository_owner_id = {{{{ eq = "65" }}}}
claims.ref                 = {{{{ prefix = "refs/tags/v" }}}}
claims.ref_protected       = {{{{ eq = "true" }}}}
claims.job_workflow_ref    = {{{{ eq = "{WORKFLOW}" }}}}
claims.runner_environment  = {{{{ in = ["github-hosted"] }}}}
claims.event_name          = {{{{ in = ["push"] }}}}
artifact = {{{{ kinds = ["firmware-image"], digest_algs = ["sha256"], max_size = 1000000 }}}}
"""
RULES = RULE.format(line=LOW) + "grant = { max_uses = 3 }\n" + RULE.format(line=RELEASE)
IMAGE = Artifact("router.img", "1.2.0", 4_096, "firmware-image")
RELEASED = (digest("image one"), digest("image two"))


@dataclass
class Thief:
    """One node, the release that was approved on it, and a token of its pipeline."""

    node: Governed
    grant: str = ""
    claims: dict[str, str | None] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    flaw: str = ""

    @property
    def caller(self) -> Caller:
        """Who comes with the token."""
        claims = {name: value for name, value in (CLAIMS | self.claims).items() if value is not None}
        token = hashlib.sha256(repr(sorted(claims.items())).encode()).digest()
        fields: dict[str, Any] = {
            "id": f"oidc:{ISSUER}#{SUBJECT}", "certificate_sha256": b"", "not_after": self.node.now + 900,
            "issuer": ISSUER, "subject": SUBJECT, "claims": tuple(sorted(claims.items())), "token_sha256": token,
            "jti": "j1",
        }  # fmt: skip
        return Caller(Identity(**(fields | self.identity)), "ipv4:10.0.0.9:1", flaw=self.flaw)

    async def sign(self, request: SignAsk) -> Any:
        """As the thief."""
        return await self.node.sign(request, self.caller)

    async def release(self, **other: Any) -> str:
        """The approved release: both images, one use each; `other` fields of the grant."""
        issued = self.node.grant(
            RELEASE, len(RELEASED), identity=self.caller.identity.id, rule="gha", constraint="exact-digests",
            algorithm="sha256", digests=tuple(one.hex() for one in RELEASED),
        )  # fmt: skip
        if other:
            from msgspec.structs import replace as changed

            issued = changed(issued, **other)
        await self.node.write(issued)
        self.grant = issued.grant
        return issued.grant


def image(line: str, *digests: bytes, **other: Any) -> SignAsk:
    """A request as the pipeline makes it."""
    sizes = {"sizes": (4_096,) * len(digests), "names": tuple("ab"[: len(digests)])} if len(digests) > 1 else {}
    return ask(line, *digests, **({"artifact": IMAGE} | sizes | other))


Shape = Callable[[Thief], Awaitable[SignAsk]]


def plain(line: str, *digests: bytes, **other: Any) -> Shape:
    """Nothing happens before."""

    async def shape(thief: Thief) -> SignAsk:
        return image(line, *digests, **other)

    return shape


def with_claims(**claims: str | None) -> Shape:
    """A token that says something else; None: says nothing of it."""

    async def shape(thief: Thief) -> SignAsk:
        thief.claims = claims
        return image(LOW, digest("loot"))

    return shape


def with_identity(**fields: Any) -> Shape:
    """A credential that is something else."""

    async def shape(thief: Thief) -> SignAsk:
        thief.identity = fields
        return image(LOW, digest("loot"))

    return shape


def under_grant(*digests: bytes, **other: Any) -> Shape:
    """The approved release exists, and is cited."""

    async def shape(thief: Thief) -> SignAsk:
        grant = await thief.release(**other)
        return image(RELEASE, *digests, grant_id=grant)

    return shape


async def found_grant(thief: Thief) -> SignAsk:
    """The release is there, and not named."""
    await thief.release()
    return image(RELEASE, RELEASED[0])


async def reuse(thief: Thief) -> SignAsk:
    """Both uses are spent."""
    grant = await thief.release()
    await thief.sign(image(RELEASE, *RELEASED, request_id="first", grant_id=grant))
    return image(RELEASE, RELEASED[0], request_id="second", grant_id=grant)


async def same_id(thief: Thief) -> SignAsk:
    """Asked once before."""
    request = image(LOW, digest("loot"), request_id="same")
    await thief.sign(request)
    return request


async def same_id_other_digest(thief: Thief) -> SignAsk:
    """An honest request had this id."""
    await thief.sign(image(LOW, digest("honest"), request_id="same"))
    return image(LOW, digest("loot"), request_id="same")


async def fourth_use(thief: Thief) -> SignAsk:
    """Three were had."""
    for number in range(3):
        await thief.sign(image(LOW, digest(number)))
    return image(LOW, digest("loot"))


async def expired_token(thief: Thief) -> SignAsk:
    """A minute beyond the skew."""
    thief.identity = {"not_after": thief.node.now - 61}
    return image(LOW, digest("loot"))


async def replayed_token(thief: Thief) -> SignAsk:
    """As rpc/tokens.py found it."""
    thief.flaw = "TOKEN_REPLAYED"
    return image(LOW, digest("loot"))


async def job_grant_of_another_token(thief: Thief) -> SignAsk:
    """An earlier run has a grant of its own."""
    await thief.sign(image(LOW, digest("honest")))
    (grant,) = thief.node.office.state.open_grants
    thief.claims = {"run_id": "2"}  # another run of the same pipeline: another token
    return image(LOW, digest("loot"), grant_id=grant)


async def grant_of_somebody_else(thief: Thief) -> SignAsk:
    """A release of another pipeline."""
    grant = await thief.release(identity="oidc:somebody#else")
    return image(RELEASE, RELEASED[0], grant_id=grant)


async def grant_of_another_line(thief: Thief) -> SignAsk:
    """The release is for another line."""
    grant = await thief.release()
    return image(LOW, RELEASED[0], grant_id=grant)


async def after_the_grant(thief: Thief) -> SignAsk:
    """Its hour is over."""
    grant = await thief.release()
    thief.node.clock.advance(3_601)
    return image(RELEASE, RELEASED[0], grant_id=grant)


async def before_the_grant(thief: Thief) -> SignAsk:
    """It begins in a minute."""
    grant = await thief.release(not_before=thief.node.now + 60)
    return image(RELEASE, RELEASED[0], grant_id=grant)


async def after_revocation(thief: Thief) -> SignAsk:
    """One person stopped it."""
    grant = await thief.release()
    await thief.node.stop(lambda desk: stops.revoke_grant(desk, thief.node.olga, grant, "stolen"))
    return image(RELEASE, RELEASED[0], grant_id=grant)


async def suspended(thief: Thief) -> SignAsk:
    """One person stopped the pipeline."""
    enrolled = thief.node.enrolled("workload:router", thief.caller.identity.id)
    await thief.node.write(enrolled)
    await thief.node.stop(lambda desk: stops.end_identity(desk, thief.node.olga, "workload:router", "suspend", "x"))
    return image(LOW, digest("loot"))


async def other_counter(thief: Thief) -> SignAsk:
    """An approved image, but with an anti-rollback counter that nobody approved."""
    grant = await thief.release()
    return msgspec.structs.replace(image(RELEASE, RELEASED[0], grant_id=grant), security_version=1)


async def other_algorithm(thief: Thief) -> SignAsk:
    """SHA-384, where the rule says SHA-256."""
    raw = hashlib.sha384(b"loot").digest()
    return SignAsk("r384", LOW, DigestAlgorithm.SHA384, raw, artifact=IMAGE)


SIGNED = ""
SHAPES: dict[str, tuple[str, Shape]] = {
    "the job itself": (SIGNED, plain(LOW, digest("loot"))),
    "any other digest on a line of class low": (SIGNED, plain(LOW, digest("what the thief wants"))),
    "an image of the approved release": (SIGNED, under_grant(RELEASED[0])),
    "both images in one batch": (SIGNED, under_grant(*RELEASED)),
    "the same without naming the grant": (SIGNED, found_grant),
    "the same request again": (SIGNED, same_id),
    "a line that has no rule for it": ("NOT_PERMITTED", plain(OTHER_LINE, digest("loot"))),
    "a line that does not exist": ("NOT_PERMITTED", plain("no/such/line/at/all", digest("loot"))),
    "a release line without a grant": ("GRANT_REQUIRED", plain(RELEASE, digest("loot"))),
    "a digest that is not in the release": ("GRANT_MISMATCH", under_grant(digest("loot"))),
    "a batch with one more than the release": ("GRANT_MISMATCH", under_grant(RELEASED[0], digest("loot"))),
    "an image under a counter that nobody approved": ("GRANT_MISMATCH", other_counter),
    "an image once more": ("GRANT_EXHAUSTED", reuse),
    "the fourth of three uses": ("GRANT_EXHAUSTED", fourth_use),
    "a used request id for another digest": ("REQUEST_ID_REUSED", same_id_other_digest),
    "a branch": ("NOT_PERMITTED", with_claims(ref="refs/heads/main")),
    "an unprotected tag": ("NOT_PERMITTED", with_claims(ref_protected="false")),
    "no word on protection": ("NOT_PERMITTED", with_claims(ref_protected=None)),
    "pull_request_target": ("NOT_PERMITTED", with_claims(event_name="pull_request_target")),
    "started by hand": ("NOT_PERMITTED", with_claims(event_name="workflow_dispatch")),
    "from a fork": ("NOT_PERMITTED", with_claims(fork="true")),
    "a repository of the same name with another id": ("NOT_PERMITTED", with_claims(repository_id="7400")),
    "the same repository after its owner changed": ("NOT_PERMITTED", with_claims(repository_owner_id="66")),
    "no repository id": ("NOT_PERMITTED", with_claims(repository_id=None)),
    "another workflow": ("NOT_PERMITTED", with_claims(job_workflow_ref=WORKFLOW.replace("sign.yml", "ci.yml"))),
    "the workflow as it was on a branch": ("NOT_PERMITTED", with_claims(job_workflow_ref=WORKFLOW + "-evil")),
    "a runner of the thief's own": ("NOT_PERMITTED", with_claims(runner_environment="self-hosted")),
    "a token for another audience": ("NOT_PERMITTED", with_claims(aud="https://sign.other.example")),
    "another issuer": ("NOT_PERMITTED", with_identity(issuer="https://gitlab.example")),
    "an issuer that looks alike": ("NOT_PERMITTED", with_identity(issuer=ISSUER + "/")),
    "a certificate with the token's name": ("NOT_PERMITTED", with_identity(issuer="", claims=(), token_sha256=b"")),
    "after its end": ("TOKEN_EXPIRED", expired_token),
    "its jti a second time": ("TOKEN_REPLAYED", replayed_token),
    "the job grant of another run": ("GRANT_HOLDER", job_grant_of_another_token),
    "somebody else's grant": ("GRANT_UNKNOWN", grant_of_somebody_else),
    "an invented grant": ("GRANT_UNKNOWN", plain(RELEASE, digest("loot"), grant_id="01JD8W6Q2N0K3M7T9V5X1Z4B6C")),
    "the grant of another line": ("GRANT_UNKNOWN", grant_of_another_line),
    "after the grant": ("GRANT_EXPIRED", after_the_grant),
    "before the grant": ("GRANT_EXPIRED", before_the_grant),
    "before a person released it": ("HELD", under_grant(RELEASED[0], gates=("release.promote",))),
    "after somebody revoked the grant": ("GRANT_REVOKED", after_revocation),
    "after somebody suspended the pipeline": ("NOT_PERMITTED", suspended),
    "another algorithm": ("ALGORITHM_NOT_ALLOWED", other_algorithm),
    "another kind of artifact": (
        "ARTIFACT_NOT_ALLOWED",
        plain(LOW, digest("loot"), artifact=replace(IMAGE, media_type="shell")),
    ),
    "a larger artifact": ("ARTIFACT_NOT_ALLOWED", plain(LOW, digest("loot"), artifact=replace(IMAGE, size=1 << 30))),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_a_stolen_token(tmp_path: Path, name: str) -> None:
    """Signed exactly if the row says so; a refusal is recorded with what was presented, and tells no rule."""
    expected, shape = SHAPES[name]
    lines = {LOW: KeyClass.LOW, RELEASE: KeyClass.RELEASE, OTHER_LINE: KeyClass.LOW}
    async with Governed(tmp_path, lines=lines, rules=RULES) as node:
        await node.begin()
        thief = Thief(node)
        request = await shape(thief)
        before = len(node.records(RecordType.REQUEST))
        try:
            settled = await thief.sign(request)
        except Refusal as refusal:
            assert refusal.reason == expected, refusal.message
            assert not any(word in refusal.message + refusal.hint for word in ("refs/tags", "74", WORKFLOW, "gha"))
            assert len(node.records(RecordType.REQUEST)) == before
            recorded = [record.head.event for record in node.records(RecordType.REFUSAL)]
            assert [event.reason for event in recorded] == ([] if expected == "REQUEST_ID_REUSED" else [expected])
            for event in recorded:
                assert (event.identity, event.issuer) == (thief.caller.identity.id, thief.caller.identity.issuer)
        else:
            assert expected == SIGNED
            event = settled.act.event
            assert settled.act.digests == request.digests
            assert (event.token_sha256, event.jti, event.subject) == (thief.caller.identity.token_sha256, "j1", SUBJECT)
            assert dict(event.claims) == CLAIMS
            assert event.verdict == "match"
            assert all(one.ok for one in event.fields)
            assert event.grant_id in node.office.state.grants


def test_the_table_is_large_enough() -> None:
    """At least thirty shapes; some are signed, most are not."""
    signed = [name for name, (expected, _) in SHAPES.items() if expected == SIGNED]
    assert len(SHAPES) >= 30
    assert 5 <= len(signed) <= len(SHAPES) // 3
