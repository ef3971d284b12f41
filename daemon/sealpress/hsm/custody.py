"""Decides whether the custodian may do what it is asked to: the change record that says so, and who approved it.

Every act on a token's keys names its change record (GR-13): right kind, this key, this line, not expired. Where the
custodian has anchors that name the line (firmware, root), it verifies the approvals itself: as many distinct persons
of the anchors as the line's quorum, none of them the proposer, with keys that were touched and given the PIN.
Elsewhere the record is what the issuance service hands out for an approved change, and its word counts.

Guarantees: an act that the change record does not describe is refused before the token is touched. Does not: know
whether the change was carried out before; the token does (a key is made once), and so does the governance log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from msgspec import structs

from sealpress.errors import Invalid, NotPermitted
from sealpress.hsm.pinned import Pinned
from sealpress.values import Format, KeyClass
from sealpress.verify import approval
from sealpress.verify.anchors import LineApprover, Officer, enrolments
from sealpress.verify.change import ChangeRecord, decode
from sealpress.verify.evidence import Evidence

FILE_BYTES_MAX = 16 << 20
APPROVALS_MAX = 64


class KeyAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Of the requests key.issue, key.adopt and key.destroy what the custodian looks at; the rest is for others."""

    key: str
    line: str
    class_: KeyClass | None = msgspec.field(default=None, name="class")
    algorithm: str = ""
    slot: str = ""
    format: Format = Format.TLOG_PROOF
    accepted_risk: str = ""


class _Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    statement: str
    signature: str


class _Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    change: str
    approvals: tuple[_Approval, ...] = ()


@dataclass(frozen=True, slots=True)
class Mandate:
    """A change record that says what to do."""

    change: ChangeRecord
    asked: KeyAsked


def read_evidence(body: bytes) -> Evidence:
    """A `--change` file: the change record itself, or `{"change": text, "approvals": [{statement, signature}]}`."""
    if len(body) > FILE_BYTES_MAX:
        raise Invalid("the change file is too large", reason="CHANGE_ENCODING")
    try:
        bundle = msgspec.json.decode(body, type=_Bundle)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return Evidence(body.rstrip(b"\n"), ())
    return Evidence(bundle.change.encode(), tuple((one.statement.encode(), one.signature) for one in bundle.approvals))


def mandate(
    evidence: Evidence, kinds: Sequence[str], key: str, line: str, pinned: Pinned | None, now: int | None
) -> Mandate:
    """What the change record asks; NotPermitted unless it is of these kinds, for this key and line, and approved.

    An empty `key` or `line` is taken from the record. `now` None: the change was carried out before, and this follows
    from it; its time and its approvals were judged then.
    """
    try:
        change = decode(evidence.change, ChangeRecord)
        asked = msgspec.json.decode(change.request, type=KeyAsked)
    except Invalid as error:
        raise NotPermitted(f"the change file: {error.message}", reason=error.reason) from None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise NotPermitted(f"the change's request is not about a key: {error}", reason="CHANGE_KIND") from None
    if change.kind not in kinds:
        raise NotPermitted(
            f"the change is of kind {change.kind}", reason="CHANGE_KIND", hint=f"this needs one of {', '.join(kinds)}"
        )
    if change.line != asked.line or (key or asked.key) != asked.key or (line or asked.line) != asked.line:
        raise NotPermitted(f"the change is about key {asked.key} of {asked.line}", reason="CHANGE_SUBJECT")
    if now is None:
        return Mandate(change, asked)
    if now >= change.expires:
        raise NotPermitted("the change has expired", reason="CHANGE_EXPIRED", hint="propose it again")
    if pinned is not None:
        _check_approvals(pinned, change, asked, evidence, now)
    return Mandate(change, asked)


def _check_approvals(pinned: Pinned, change: ChangeRecord, asked: KeyAsked, evidence: Evidence, now: int) -> None:
    anchors = pinned.anchors
    rule = anchors.lines.get(change.line)
    if rule is None and asked.class_ is not None and asked.class_.opened:
        raise NotPermitted(f"the anchors name no quorum for {change.line}", reason="QUORUM_MISSING")
    if rule is None:
        return  # not a line that the anchors protect
    if (change.deployment, change.log) != (anchors.deployment, anchors.log):
        raise NotPermitted("the change is of another deployment", reason="CHANGE_SUBJECT")
    persons: list[Officer | LineApprover] = [*anchors.officers, *anchors.approvers]
    enrolled = enrolments(anchors, persons).get
    groups = {person.person: person.groups for person in anchors.approvers}
    try:
        counted = [
            approval.check_at(change, statement, signature, enrolled, now, lambda *_: True, rule.credential)
            for statement, signature in evidence.approvals[:APPROVALS_MAX]
        ]
    except Invalid as error:
        raise NotPermitted(f"an approval does not count: {error.message}", reason=error.reason) from None
    counted = [replace(one, groups=groups.get(one.person, ())) for one in counted]
    least = structs.replace(change.required, quorum=max(rule.quorum, change.required.quorum))
    missing = approval.quorum(structs.replace(change, required=least), counted)
    if missing:
        raise NotPermitted(
            f"the change is not approved: missing {missing}",
            reason="QUORUM_MISSING",
            hint="give --change a file with the change and its approvals",
        )
