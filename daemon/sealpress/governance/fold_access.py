"""Folds the facts of access: the officers of the trust anchors, identities, their keys and roles, issuers of tokens.

Guarantees: a name, and a key, belongs to one identity; who is offboarded has no role and no key. Does not: decide
whether a fact may be (access_requests.py, stops.py, adoption.py).
"""

from __future__ import annotations

from sealpress.errors import Precondition
from sealpress.governance import facts as f
from sealpress.governance import tables
from sealpress.governance.roles import Role
from sealpress.governance.state import EVERY_LINE, OFFICERS, Binding, Credential, Identity, State
from sealpress.verify.anchors import Officer, TrustAnchors
from sealpress.verify.change import decode


def anchors_adopted(state: State, fact: f.AnchorsAdopted, seq: int) -> None:
    """Its officers are security officers of every line, with their keys and names; those before them are not."""
    new = decode(fact.document, TrustAnchors)
    if (state.anchors.version if state.anchors is not None else 0) + 1 != new.version:
        raise Precondition(f"anchors version {new.version} does not follow", reason="ILLEGAL_MOVE")
    for officer in new.officers:
        _check_officer(state, officer)
    if state.anchors is not None:
        kept = {key.fingerprint for officer in new.officers for key in officer.keys}
        for officer in state.anchors.officers:
            for id_ in [id_ for id_ in state.bindings_of.get(officer.person, ()) if id_.startswith("anchors/")]:
                state.bindings[id_].state = "revoked"
            for key in officer.keys:
                if key.fingerprint not in kept:
                    state.credentials[key.fingerprint].revoked = True
    former = {officer.person: officer.names for officer in state.anchors.officers} if state.anchors is not None else {}
    state.anchors = new
    for officer in new.officers:
        known = state.identities.get(officer.person)
        if known is None:
            _enrol(state, Identity(officer.person, "person", officer.names))
        else:
            _rename(state, known, former.get(officer.person, ()), officer.names)
        if known is not None and known.state == "suspended":  # else one officer could lock all others out for ever
            known.state = tables.move(tables.IDENTITY, known.state, "restore", officer.person)
        for key in officer.keys:
            held = state.credentials.get(key.fingerprint)
            if held is None:
                state.credentials[key.fingerprint] = Credential(
                    officer.person, key.fingerprint, key.public, key.application, 0, 0
                )
            else:
                held.revoked = False
        id_ = f"anchors/{new.version}/{officer.person}"
        _bind(state, Binding(id_, officer.person, Role.SECURITY_OFFICER, EVERY_LINE, OFFICERS, 0))


def _check_officer(state: State, officer: Officer) -> None:
    known = state.identities.get(officer.person)
    if any(state.names.get(name, officer.person) != officer.person for name in officer.names):
        raise Precondition(f"a name of {officer.person} is taken", reason="IDENTITY_TAKEN")
    if known is not None and (known.kind != "person" or known.state == "offboarded"):
        raise Precondition(f"{officer.person} is no person, or offboarded for good", reason="ILLEGAL_MOVE")
    for key in officer.keys:
        held = state.credentials.get(key.fingerprint)
        if held is not None and held.person != officer.person:
            raise Precondition(f"a key of {officer.person} is {held.person}'s", reason="CREDENTIAL_TAKEN")


def _enrol(state: State, identity: Identity) -> None:
    if identity.id in state.identities or any(name in state.names for name in identity.names):
        raise Precondition(f"{identity.id} or one of its names is taken", reason="IDENTITY_TAKEN")
    state.identities[identity.id] = identity
    for name in identity.names:
        state.names[name] = identity.id


def _rename(state: State, identity: Identity, former: tuple[str, ...], names: tuple[str, ...]) -> None:
    """What the document before this one called him is no name of his any more; how else he was enrolled stays."""
    for name in set(former).intersection(identity.names):
        del state.names[name]
    kept = (name for name in identity.names if name not in former)
    identity.names = tuple(dict.fromkeys((*kept, *names)))
    state.names.update(dict.fromkeys(identity.names, identity.id))


def _bind(state: State, binding: Binding) -> None:
    state.bindings[binding.id] = binding
    state.bindings_of.setdefault(binding.identity, []).append(binding.id)


def identity_enrolled(state: State, fact: f.IdentityEnrolled, seq: int) -> None:
    """Somebody, or some machine, is known."""
    _enrol(
        state,
        Identity(
            fact.identity, fact.kind, fact.names, fact.owner, fact.backup_owner, fact.environment, fact.line,
            fact.on_behalf_of, fact.expires,
        ),
    )  # fmt: skip


def identity_moved(state: State, fact: f.IdentityMoved, seq: int) -> None:
    """Offboarded, it leaves its roles and keys behind."""
    identity = state.identities.get(fact.identity)
    if identity is None:
        raise Precondition("there is no such identity", reason="NO_SUCH_IDENTITY")
    identity.state = tables.move(tables.IDENTITY, identity.state, fact.verb, fact.identity)
    if identity.state == "offboarded":
        for id_ in state.bindings_of.get(fact.identity, ()):
            if state.bindings[id_].state in ("active", "suspended"):
                state.bindings[id_].state = "revoked"
        for credential in state.credentials.values():
            credential.revoked = credential.revoked or credential.person == fact.identity


def credential_enrolled(state: State, fact: f.CredentialEnrolled, seq: int) -> None:
    """A person has a further key."""
    if fact.fingerprint in state.credentials:
        raise Precondition("the key is enrolled already", reason="CREDENTIAL_TAKEN")
    state.credentials[fact.fingerprint] = Credential(
        fact.person, fact.fingerprint, fact.public, fact.application, fact.effective, fact.expires
    )


def credential_revoked(state: State, fact: f.CredentialRevoked, seq: int) -> None:
    """A key counts no more."""
    credential = state.credentials.get(fact.fingerprint)
    if credential is None:
        raise Precondition("there is no such key", reason="NO_SUCH_CREDENTIAL")
    credential.revoked = True


def binding_made(state: State, fact: f.BindingMade, seq: int) -> None:
    """An identity has a role."""
    if fact.binding in state.bindings or fact.identity not in state.identities or fact.role not in set(Role):
        raise Precondition("the binding's id is taken, or it binds nobody to nothing", reason="ILLEGAL_MOVE")
    _bind(state, Binding(fact.binding, fact.identity, Role(fact.role), fact.line, fact.group, fact.not_after))


def binding_moved(state: State, fact: f.BindingMoved, seq: int) -> None:
    """A role rests, counts again, or is gone."""
    binding = state.bindings.get(fact.binding)
    if binding is None:
        raise Precondition("there is no such binding", reason="NO_SUCH_BINDING")
    binding.state = tables.move(tables.BINDING, binding.state, fact.verb, "the binding")


def issuer_registered(state: State, fact: f.IssuerRegistered, seq: int) -> None:
    """Tokens of an issuer are read."""
    state.issuers[fact.issuer] = fact
