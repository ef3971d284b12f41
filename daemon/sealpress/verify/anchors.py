"""Trust anchors: the document with which governance begins, and what the signer demands by it of each firmware leaf.

Officers, thresholds and the keys of log and witnesses, versioned as TUF's root: version 1 is signed by all officers,
each later one by the thresholds of both the old and the new officers, without gaps. It also says who approves the
releases of lines of class firmware and root, so that a signer with this document believes nobody else.

Guarantees: a document has one spelling; a key belongs to one person (GR-32) and is a FIDO2 key; each line's quorum can
be reached. Does not: read files or know the time; remember which lift was used (`check_lift` hands the change back).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta, field, structs

from sealpress.errors import Invalid, Malformed
from sealpress.values import DigestAlgorithm, check_line
from sealpress.verify import approval, sshsig
from sealpress.verify.approval import Counted, Enrolment
from sealpress.verify.change import (
    Canonical,
    ChangeRecord,
    Name,
    ReleaseRequest,
    Required,
    Seconds,
    Text,
    decode,
    manifest_sha256,
)
from sealpress.verify.note import parse_vkey
from sealpress.verify.sshsig import PublicKey, parse_public_key

NAMESPACE = "anchors@v1.sealpress"
DOCUMENT_BYTES_MAX = 1 << 20
SIGNATURES_MAX = 64

Approvals = Sequence[tuple[bytes, str]]
"""Statement and signature file of each approval."""

Count = Annotated[int, Meta(ge=1, le=32)]
Names = Annotated[tuple[Name, ...], Meta(max_length=32)]


class AnchorKey(Canonical, frozen=True, kw_only=True):
    """A FIDO2 key of a person: type and base64, and its application."""

    public: Text
    application: Name

    @property
    def key(self) -> PublicKey:
        """As a value."""
        return parse_public_key(self.public)

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return self.key.fingerprint


Keys = Annotated[tuple[AnchorKey, ...], Meta(min_length=1, max_length=8)]


class Officer(Canonical, frozen=True, kw_only=True):
    """A person who holds the root of governance; `names` are how he authenticates."""

    person: Name
    names: Names
    keys: Keys


class LineApprover(Canonical, frozen=True, kw_only=True):
    """A person whose approval the signer itself believes."""

    person: Name
    groups: Names
    keys: Keys


class LineRule(Canonical, frozen=True, kw_only=True):
    """What the signer itself demands for a line of class firmware or root; no less than GOVERNANCE 5 says."""

    quorum: Annotated[int, Meta(ge=2, le=32)]
    min_groups: Count = 1
    groups: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32)]
    credential: Literal["sk+uv"] = "sk+uv"


class TrustAnchors(Canonical, frozen=True, kw_only=True):
    """The document. `lines` in the order of their names. Times are Unix seconds."""

    schema: Literal[1] = 1
    version: Annotated[int, Meta(ge=1, le=1 << 31)]
    deployment: Name
    profile: Literal["lab", "baseline", "regulated"]
    log: Name  # of governance
    officers: Annotated[tuple[Officer, ...], Meta(min_length=1, max_length=32)]
    root_threshold: Count
    approvers: Annotated[tuple[LineApprover, ...], Meta(max_length=256)] = ()
    lines: dict[str, LineRule] = field(default_factory=dict)
    log_keys: Names = ()  # vkeys
    witness_keys: Names = ()
    created: Seconds
    expires: Seconds


def enrolments(anchors: TrustAnchors, persons: Sequence[Officer | LineApprover]) -> dict[str, Enrolment]:
    """Whose key is whose among its officers or approvers, by fingerprint, as long as the document is in force."""
    return {
        key.fingerprint: Enrolment(person.person, key.key, key.application, anchors.created, anchors.expires)
        for person in persons
        for key in person.keys
    }


def parse(document: bytes | str) -> TrustAnchors:
    """Read a document; Invalid with ANCHORS_FORM or CHANGE_ENCODING unless all of it makes sense."""
    if len(document) > DOCUMENT_BYTES_MAX:
        raise _form("the document is at most 1 MiB")
    anchors = decode(document, TrustAnchors)
    _check_persons(anchors)
    _check_lines(anchors)
    for vkey in (*anchors.log_keys, *anchors.witness_keys):
        parse_vkey(vkey)
    if anchors.created >= anchors.expires:
        raise _form("it expires before it begins")
    return anchors


def verify_genesis(document: bytes | str, signatures: Sequence[str]) -> TrustAnchors:
    """Version 1, signed by all officers whom it lists; Invalid ANCHORS_… otherwise."""
    anchors = parse(document)
    if anchors.version != 1:
        raise Invalid("the first document has version 1", reason="ANCHORS_VERSION", hint="begin with genesis")
    signers = _signers(document, signatures, anchors)
    _demand(anchors, signers, len(anchors.officers), "the document")
    return anchors


def verify_next(old: TrustAnchors, document: bytes | str, signatures: Sequence[str]) -> TrustAnchors:
    """The next version, signed by the thresholds of both the old and the new officers; Invalid ANCHORS_… otherwise."""
    new = parse(document)
    if new.version != old.version + 1:
        text = f"version {new.version} does not follow {old.version}"
        raise Invalid(text, reason="ANCHORS_VERSION", hint="apply every version in its turn")
    if (new.deployment, new.log) != (old.deployment, old.log) or new.created < old.created:
        text = "it is of another deployment or log, or older"
        raise Invalid(text, reason="ANCHORS_DEPLOYMENT", hint=f"made for {old.deployment}, log {old.log}")
    if (new.profile == "lab") != (old.profile == "lab"):
        hint = "begin a new deployment: keys of a lab sign nothing else"
        raise Invalid("a lab stays a lab, and nothing else becomes one", reason="ANCHORS_DEPLOYMENT", hint=hint)
    signers = _signers(document, signatures, old, new)
    _demand(old, signers, old.root_threshold, "the old document")
    _demand(new, signers, new.root_threshold, "the new document")
    return new


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose quorum was checked: these digests may be signed on this line until then (Unix seconds)."""

    change: ChangeRecord
    algorithm: DigestAlgorithm
    digests: frozenset[bytes]
    security_version: int
    expires: int  # when the first of the approvals no longer counts


def open_release(anchors: TrustAnchors, change_bytes: bytes, approvals: Approvals, line: str, now: int) -> Release:
    """Check a release once for all its leaves; Invalid with ANCHORS_…, RELEASE_… or APPROVAL_… otherwise."""
    change = _change(anchors, change_bytes, "sign.release", line, now)
    request = decode(change.request, ReleaseRequest)
    if request.line != line or request.manifest_sha256 != manifest_sha256(request.items):
        raise _release("the request is for another line, or its manifest is wrong", "RELEASE_CHANGE")
    algorithm = DigestAlgorithm.parse(request.algorithm)
    digests = frozenset(bytes.fromhex(item.digest) for item in request.items)
    if any(len(digest) != algorithm.size for digest in digests):
        raise _release(f"a digest in it is not of {request.algorithm}", "RELEASE_CHANGE")
    counted = _quorum(anchors, change, approvals, line, now)
    return Release(change, algorithm, digests, request.security_version, min(one.expires for one in counted))


def check_release(
    anchors: TrustAnchors,
    change_bytes: bytes,
    approvals: Approvals,
    line: str,
    algorithm: DigestAlgorithm,
    digest: bytes,
    now: int,
) -> None:
    """May this digest be signed on this line? Invalid RELEASE_DIGEST, or as `open_release`. `now`: the leaf's time."""
    release = open_release(anchors, change_bytes, approvals, line, now)
    if algorithm is not release.algorithm or digest not in release.digests:
        raise _release("the change does not list this digest", "RELEASE_DIGEST")


class LiftRequest(Canonical, frozen=True, kw_only=True):
    """The request of `key.resume`."""

    key: Name
    line: Name


def check_lift(
    anchors: TrustAnchors, change_bytes: bytes, approvals: Approvals, key: str, line: str, now: int
) -> ChangeRecord:
    """The change that lets a stopped key resume; Invalid otherwise.

    The caller refuses a change that it saw before or that was created before the stop: else old approvals lift again.
    """
    change = _change(anchors, change_bytes, "key.resume", line, now)
    if decode(change.request, LiftRequest) != LiftRequest(key=key, line=line):
        raise _release("the change is about another key", "RELEASE_CHANGE")
    _quorum(anchors, change, approvals, line, now)
    return change


def _change(anchors: TrustAnchors, change_bytes: bytes, kind: str, line: str, now: int) -> ChangeRecord:
    if now >= anchors.expires:
        raise Invalid("the trust anchors have expired", reason="ANCHORS_EXPIRED", hint="install the next version")
    change = decode(change_bytes, ChangeRecord)
    ours = (anchors.deployment, anchors.log, anchors.profile, kind, line)
    if (change.deployment, change.log, change.profile, change.kind, change.line) != ours:
        raise _release(f"not a change of kind {kind} for this deployment, log and line", "RELEASE_CHANGE")
    return change


def _quorum(anchors: TrustAnchors, change: ChangeRecord, approvals: Approvals, line: str, now: int) -> list[Counted]:
    rule = anchors.lines.get(line)
    if rule is None:
        raise _release("the trust anchors do not know this line", "RELEASE_LINE")
    if len(approvals) > SIGNATURES_MAX:
        raise _release(f"at most {SIGNATURES_MAX} approvals", "RELEASE_QUORUM")
    enrolled = enrolments(anchors, anchors.approvers).get
    groups = {person.person: person.groups for person in anchors.approvers}
    counted = []
    for statement, signature in approvals:
        # The signer holds no copy of the governance log: which head the approver saw, serve and auditors compare.
        one = approval.check_at(change, statement, signature, enrolled, now, lambda *_: True, rule.credential)
        counted.append(replace(one, groups=groups[one.person]))
    # A forged change may say that it needs less; the groups are those of the document, too.
    least = max(rule.quorum, change.required.quorum)
    required = Required(path=line, quorum=least, groups=rule.groups, min_groups=rule.min_groups)
    missing = approval.quorum(structs.replace(change, required=required), counted)
    if missing:
        raise _release(f"missing: {missing}", "RELEASE_QUORUM")
    return counted


def _check_persons(anchors: TrustAnchors) -> None:
    owner: dict[str, str] = {}
    for group in (anchors.officers, anchors.approvers):
        if len({person.person for person in group}) != len(group):
            raise _form("a person stands twice among officers or approvers")
        for person in group:
            for key in person.keys:
                parsed = key.key
                if not parsed.sk or parsed.application != key.application or parsed.line != key.public:
                    raise _form(f"{person.person}: a key is a FIDO2 key with its application, without a comment")
                if owner.setdefault(parsed.fingerprint, person.person) != person.person:
                    raise _form(f"{person.person}: the key is also {owner[parsed.fingerprint]}'s")
    least = 1 if anchors.profile == "lab" else 2
    if not least <= anchors.root_threshold <= len(anchors.officers):
        raise _form(f"root_threshold is {least} to {len(anchors.officers)}: the number of officers")
    names = [name for officer in anchors.officers for name in officer.names]
    if len(set(names)) != len(names):
        raise _form("two officers authenticate by one name")


def _check_lines(anchors: TrustAnchors) -> None:
    if list(anchors.lines) != sorted(anchors.lines):
        raise _form("lines stand in the order of their names")
    for line, rule in anchors.lines.items():
        try:
            check_line(line)
        except Malformed as error:
            raise _form(f"{line}: {error.message}") from None
        mine = [set(person.groups) & set(rule.groups) for person in anchors.approvers]
        able = [groups for groups in mine if groups]
        if len(able) < rule.quorum or approval.standing_for(able) < rule.min_groups:
            raise _form(f"{line}: its approvers cannot reach its quorum")


def _signers(document: bytes | str, signatures: Sequence[str], *versions: TrustAnchors) -> set[str]:
    """Fingerprints of the officers' keys (of any of these versions) that signed."""
    if len(signatures) > SIGNATURES_MAX:
        raise Invalid(f"at most {SIGNATURES_MAX} signatures", reason="ANCHORS_SIGNATURE", hint="one per officer")
    known = {key.fingerprint for version in versions for person in version.officers for key in person.keys}
    raw = document.encode() if isinstance(document, str) else document
    signers = set()
    for signature in signatures:
        envelope = sshsig.parse(signature, NAMESPACE)
        if envelope.key.fingerprint not in known:
            text = f"{envelope.key.fingerprint} is no officer's key"
            raise Invalid(text, reason="ANCHORS_SIGNATURE", hint="only officers sign")
        approval.check_credential(envelope, "sk+uv")
        signers.add(envelope.verify(raw).key.fingerprint)
    return signers


def _demand(anchors: TrustAnchors, signers: set[str], least: int, what: str) -> None:
    missing = [o.person for o in anchors.officers if not signers & {key.fingerprint for key in o.keys}]
    if len(anchors.officers) - len(missing) < least:
        text = f"{what} wants {least} of its officers; without signature: {', '.join(missing)}"
        raise Invalid(text, reason="ANCHORS_THRESHOLD", hint=f"ssh-keygen -Y sign -n {NAMESPACE} -f KEY DOCUMENT")


def _form(message: str) -> Invalid:
    return Invalid(f"trust anchors: {message}", reason="ANCHORS_FORM", hint="correct the document and sign it again")


def _release(message: str, reason: str) -> Invalid:
    return Invalid(message, reason=reason, hint="only what a quorum of the line's approvers signed is signed here")
