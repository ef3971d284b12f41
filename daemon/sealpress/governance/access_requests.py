"""What must hold of a right that is asked for: an identity, a credential, a role, or one of these restored.

Guarantees: one natural person, one id, and a key of one person only (GR-32); roles that exclude one another never meet
(GR-10). Does not: say who gains by it (paths.py).
"""

from __future__ import annotations

import re

from sealpress.errors import Invalid, Malformed, NotPermitted, Precondition
from sealpress.governance import changes as c
from sealpress.governance import tables
from sealpress.governance.desk import Desk, check_owners, clash, is_person
from sealpress.governance.roles import Role
from sealpress.governance.state import EVERY_LINE, OFFICERS, Binding
from sealpress.values import check_line
from sealpress.verify import sshsig

DAY_S = 86_400
PARTNER_S_MAX = 365 * DAY_S
NAME = re.compile(r"(uri|spki:sha256|oidc|actor):[\x21-\x7e]+", re.ASCII)
GROUP = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
ISSUER = re.compile(r"[\x21-\x7e]+", re.ASCII)


def check_enrolment(desk: Desk, asked: c.EnrolRequest) -> None:
    """A new identity: nobody else's id or name, with who answers for it (GR-32, 33, 55, 100)."""
    if not asked.identity.startswith(f"{asked.kind}:"):
        raise Malformed(f"the id of a {asked.kind} begins with {asked.kind}:", reason="BAD_REQUEST")
    if not all(NAME.fullmatch(name) for name in asked.names):
        raise Malformed(
            "a name is what the transport authenticates",
            reason="BAD_REQUEST",
            hint="uri:…, spki:sha256:…, oidc:…, actor:…",
        )
    if asked.identity in desk.state.identities or any(name in desk.state.names for name in asked.names):
        raise Precondition("the identity or one of its names is enrolled already", reason="IDENTITY_TAKEN",
                           hint="one natural person, one person_id (GR-32)")  # fmt: skip
    if any(asked.identity.lower() == known.lower() for known in desk.state.identities):
        raise Precondition("an identity is enrolled whose id differs only in capitals", reason="IDENTITY_TAKEN",
                           hint="approvers read ids: choose one that nobody takes for another's")  # fmt: skip
    if asked.kind != "person":
        check_owners(desk, asked.owner, asked.backup_owner)
    agent = asked.kind == "agent"
    if (agent or asked.on_behalf_of) and not (agent and is_person(desk, asked.on_behalf_of)):
        raise Malformed("an agent, and no other, acts on behalf of a person (GR-33)", reason="ON_BEHALF_MISSING")
    if asked.kind == "partner":
        whole = asked.agreement and asked.trust_domain and asked.line
        if not is_person(desk, asked.sponsor) or not whole:
            text = "a partner has sponsor, agreement, trust domain and its own line (GR-100)"
            raise Malformed(text, reason="PARTNER_INCOMPLETE")
        if not desk.now < asked.expires <= desk.now + PARTNER_S_MAX:
            raise Malformed("a partner's enrolment lasts at most 365 days", reason="PERIOD_TOO_LONG")
    if asked.line:
        desk.rules(check_line(asked.line))


def check_credential(desk: Desk, asked: c.CredentialRequest) -> None:
    """A person's further key: his, shown by its signature, and nobody's so far (GR-32)."""
    if not is_person(desk, asked.person):
        raise Malformed(f"{asked.person} is no active person", reason="OWNER_UNKNOWN")
    if any(officer.person == asked.person for officer in desk.anchors.officers):
        raise Precondition(
            f"{asked.person} is an officer, whose keys stand in the trust anchors",
            reason="OFFICER_KEYS",
            hint="the next version of the anchors names them; it takes the officers' thresholds",
        )
    try:
        key = sshsig.parse_public_key(asked.public)
        message = c.proof_text(asked.person, desk.anchors.deployment, asked.public)
        signed = sshsig.verify(asked.proof, message, c.CREDENTIAL_NAMESPACE)
    except Invalid as error:
        raise Malformed(f"the key or its proof: {error.message}", reason="PROOF_INVALID") from None
    if signed.key.fingerprint != key.fingerprint:
        raise Malformed("the proof is by another key", reason="PROOF_INVALID", hint="sign with the key to be enrolled")
    if key.fingerprint in desk.state.credentials:
        raise Precondition(
            "this key is enrolled already", reason="CREDENTIAL_TAKEN", hint="one key, one person (GR-32)"
        )
    if not desk.now < asked.expires <= desk.now + 365 * DAY_S:
        raise Malformed("a credential lasts at most 365 days", reason="PERIOD_TOO_LONG")


def check_issuer(desk: Desk, asked: c.IssuerRequest) -> None:
    """A name that a token can have, as approvers read it: no other letters that look alike."""
    if not ISSUER.fullmatch(asked.issuer):
        raise Malformed(
            "an issuer is a URL in ASCII, without blanks", reason="BAD_REQUEST", hint="as its tokens say in `iss`"
        )
    check_owners(desk, asked.owner)


def check_binding(desk: Desk, asked: c.BindRequest) -> None:
    """Conflicts are refused before anybody approves, and once more when the change is carried out (GR-10)."""
    identity = desk.state.identities.get(asked.identity)
    if identity is None or identity.state != "active":
        raise Precondition(f"{asked.identity} is not enrolled or not active", reason="NO_SUCH_IDENTITY")
    if asked.line != EVERY_LINE:
        desk.rules(check_line(asked.line))
    if identity.kind != "person" and asked.role is not Role.REQUESTER and asked.role is not Role.AUDITOR:
        raise NotPermitted("machines and agents ask and read, nothing else", reason="PERSON_REQUIRED")
    if asked.group and not GROUP.fullmatch(asked.group):
        raise Malformed(
            "no approval path names such a group", reason="BAD_REQUEST", hint="its name in the policy: a-z 0-9 . _ -"
        )
    if asked.group == OFFICERS:
        raise NotPermitted("only the trust anchors make officers", reason="OFFICERS", hint="adopt a next version")
    if asked.not_after and asked.not_after <= desk.now:
        raise Malformed("the role would be over before it began", reason="BAD_DATES")
    _check_place(desk, Binding("", asked.identity, asked.role, asked.line, asked.group, asked.not_after))


def check_restoration(desk: Desk, asked: c.RestoreRequest) -> None:
    """Back only from where a stop or a conflict put it, and only where there is room for it now."""
    if asked.what == "identity":
        identity = desk.state.identities.get(asked.id)
        tables.move(tables.IDENTITY, identity.state if identity is not None else "unknown", "restore", "the identity")
    else:
        binding = desk.state.bindings.get(asked.id)
        tables.move(tables.BINDING, binding.state if binding is not None else "unknown", "restore", "the binding")
        assert binding is not None
        _check_place(desk, binding)


def _check_place(desk: Desk, binding: Binding) -> None:
    """Whether there is room for it: beside its identity's others, and among the requesters of its line."""
    _check_clash(desk, binding)
    if binding.role is Role.REQUESTER:
        known = desk.policy.lines if desk.policy is not None else {}
        for line in known if binding.line == EVERY_LINE else (binding.line,):
            _check_requesters(desk, line)


def _check_clash(desk: Desk, binding: Binding) -> None:
    """What this one would join with the identity's others, also with those that rest while it is suspended."""
    others = (desk.state.bindings[id_] for id_ in desk.state.bindings_of.get(binding.identity, ()))
    found = clash([*(other for other in others if other.lasts(desk.now)), binding], desk.policy)
    if found is not None:
        raise Precondition(
            f"{binding.identity} would be {found[0]} and {found[1]} of {found[2]}",
            reason="DUTIES_CONFLICT",
            hint="another person takes one of the two roles (daemon/GOVERNANCE.md, Who may be what)",
        )


def _check_requesters(desk: Desk, line: str) -> None:
    held = [b for b in desk.state.bindings.values() if b.role is Role.REQUESTER and b.covers(line, desk.now)]
    if len(held) >= desk.rules(line).max_requesters:
        raise Precondition(f"line {line} has its {len(held)} requesters", reason="REQUESTERS_MAX", hint="end one first")
