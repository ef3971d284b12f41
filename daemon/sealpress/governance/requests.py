"""Requests of changes: one line that tells of each, and what must hold when it is proposed and again when it is done.

Guarantees: every kind of request is judged by the state and the rules of this moment, in one place. Does not: say who
may propose (changes.py) or whose approval it takes (paths.py).
"""

from __future__ import annotations

from sealpress.errors import Malformed, Precondition, SealpressError
from sealpress.governance import access_requests, key_requests, paths, tables
from sealpress.governance import changes as c
from sealpress.governance.desk import Desk
from sealpress.verify.change import ReleaseRequest


def summary(asked: c.Request) -> str:
    """One line for those who approve."""
    match asked:
        case ReleaseRequest(items=items, manifest_sha256=manifest):
            return f"{len(items)} artifacts, manifest-sha256 {manifest}"
        case c.KeyRequest(key=key, class_=class_, algorithm=algorithm):
            fleet = f", about {asked.fleet_estimate} devices" if asked.fleet_estimate else ""
            return f"key {key}: {algorithm}, class {class_}, trusted for {', '.join(asked.trusts) or 'nothing'}{fleet}"
        case c.KeyAct(key=key) | c.ExtendRequest(key=key) | c.CompromiseRequest(key=key) | c.SharesRequest(key=key):
            return f"key {key}"
        case c.BindRequest(identity=identity, role=role, line=line, group=group):
            return f"{identity} becomes {role} of {line}" + (f" in {group}" if group else "")
        case c.EnrolRequest(identity=identity, names=names):
            return f"{identity} connects as {', '.join(names)}"
        case c.CredentialRequest(person=person):
            return f"a key of {person}"
        case c.IssuerRequest(issuer=issuer):
            return f"tokens of {issuer}"
        case c.RestoreRequest(what=what, id=id_):
            return f"{what} {id_} counts again"
        case c.PolicyRequest():
            return "the policy"


# ---- what must hold when it is proposed, and again when it is carried out --------------------------------------------


def check(desk: Desk, kind: str, asked: c.Request, change_id: str = "") -> None:
    """A Refusal unless the state allows it now; `change_id`: the change itself, when it is carried out."""
    match asked:
        case c.KeyRequest():
            key_requests.check_key(desk, kind, asked, change_id)
        case c.KeyAct():
            key_requests.check_act(desk, kind, asked)
        case c.ExtendRequest():
            key_requests.check_extension(desk, asked)
        case c.CompromiseRequest(key=key, line=line, since=since):
            tables.move(tables.KEY, desk.key(key, line).state, "mark_compromised", f"key {key}")
            if since > desk.now:
                raise Malformed("a compromise cannot begin in the future", reason="BAD_DATES")
        case c.PolicyRequest(policy=text):
            _check_alone(desk)
            check_policy(desk, text)
        case c.EnrolRequest():
            access_requests.check_enrolment(desk, asked)
        case c.CredentialRequest():
            access_requests.check_credential(desk, asked)
        case c.BindRequest():
            access_requests.check_binding(desk, asked)
        case c.SharesRequest():
            key_requests.check_shares(desk, asked)
        case c.RestoreRequest():
            access_requests.check_restoration(desk, asked)
        case c.IssuerRequest():
            access_requests.check_issuer(desk, asked)
        case ReleaseRequest():
            pass


def _check_alone(desk: Desk) -> None:
    """What is approved while another policy is about to decide would be closed as done, and never be in force."""
    if desk.state.scheduled:
        raise Precondition(
            "another policy is about to enter into force, and what this one loosens was not judged against it",
            reason="POLICY_SCHEDULED",
            hint="propose it again when that one is in force",
        )


def check_policy(desk: Desk, text: str) -> None:
    """Malformed POLICY_INVALID unless the file compiles by this profile's floors, without an error of lint.py."""
    try:
        paths.compiled(desk, text)
    except SealpressError as error:
        raise Malformed(error.message, reason="POLICY_INVALID", hint=error.hint) from None
