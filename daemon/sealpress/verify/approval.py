"""Does this file of a person's signature count as an approval of this change? The order of checks of GOVERNANCE 5.

The statement is made again from the change record; only person, step, checkpoint, nonce, times and note are taken from
what was signed, and the bytes must be equal. So nobody approves anything but the change at hand.

Guarantees: user presence and verification are demanded here, since stock `ssh-keygen -Y verify` is content with flags
of 0; the same code judges in the daemon, in the signer and offline. Does not: know whose key it is (`Enrolled`), which
roles a person holds, whether the nonce was used (it is handed back), or which policy is in force now: when that
changes, the caller gives the change up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sealpress.errors import Invalid
from sealpress.ports import Approver
from sealpress.verify import sshsig
from sealpress.verify.change import ChangeRecord, Credential
from sealpress.verify.sshsig import Envelope, PublicKey, Signed
from sealpress.verify.statement import NAMESPACE, Statement, ask, needed, parse, render

SKEW_S = 60
VALID_S_MAX = 30 * 86_400  # however long a policy lets an approval count (GOVERNANCE 2)

PRESENT, VERIFIED = 0x01, 0x04  # touched; checked its owner by PIN or finger
BACKUP_ELIGIBLE, BACKED_UP = 0x08, 0x10  # the key can leave, has left the authenticator


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Whose key it is. Unix seconds; `expires` 0 is never."""

    person: str
    key: PublicKey
    application: str
    effective: int
    expires: int


Enrolled = Callable[[str], Enrolment | None]
"""From a fingerprint to who may approve with it now: None if it is unknown or revoked, or its person not active."""

Seen = Callable[[int, bytes], bool]
"""Whether our log had this root at this size."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An approval that holds; it counts once its nonce proves to be new and its person to hold the role.

    `groups` of the approval path are for the caller to fill in.
    """

    person: str
    credential: str  # fingerprint
    flags: int | None  # of a FIDO2 key
    counter: int | None
    nonce: str
    issued: int
    expires: int
    note: str
    groups: tuple[str, ...] = ()


def check(change: ChangeRecord, statement: bytes, signature: str, enrolled: Enrolled, now: int, seen: Seen) -> Counted:
    """Count one approval, or say in Invalid why not. `now` in Unix seconds.

    Reasons: APPROVAL_STATEMENT, _SIGNATURE, _KEY, _FLAGS, _PERSON, _EXPIRED, _SEEN, _SELF.
    """
    return check_at(change, statement, signature, enrolled, now, seen, change.required.credential)


def check_at(
    change: ChangeRecord,
    statement: bytes,
    signature: str,
    enrolled: Enrolled,
    now: int,
    seen: Seen,
    credential: Credential,
) -> Counted:
    """As `check`, for a verifier that knows by itself which credential it demands."""
    said = parse(statement)
    envelope = _open(signature)
    check_credential(envelope, credential)
    signed, person = _who(envelope, enrolled, statement, said.issued, now)
    if said.person != person:
        raise _refused(f"it says {said.person}, but the key is of {person}", "APPROVAL_PERSON")
    _check_same(change, said, statement)
    _check_window(change, said, now)
    if not seen(said.seen_size, said.seen_root):
        raise _refused(
            "the approver saw another log than ours", "APPROVAL_SEEN", "compare the checkpoint with a witness"
        )
    if person in (change.requester_person, change.creator_person):
        raise _refused("nobody approves what he asked for or made", "APPROVAL_SELF", "ask somebody else")
    return Counted(
        person, signed.key.fingerprint, signed.flags, signed.counter, said.nonce, said.issued, said.expires, said.note
    )


def check_credential(envelope: Envelope, credential: Credential) -> None:
    """Is the key of the kind, and was it touched as the level says? Invalid APPROVAL_KEY or APPROVAL_FLAGS."""
    if credential == "ssh":
        return
    if not envelope.key.sk or envelope.flags is None:
        raise _refused("here an approval needs a FIDO2 key", "APPROVAL_KEY", "ssh-keygen -t ed25519-sk")
    demanded = PRESENT | VERIFIED if credential == "sk+uv" else PRESENT
    if envelope.flags & demanded != demanded:
        what = "touched and given the PIN" if credential == "sk+uv" else "touched"
        hint = "make the key with: ssh-keygen -t ed25519-sk -O verify-required"
        raise _refused(f"flags {envelope.flags:#04x}: the key was not {what}", "APPROVAL_FLAGS", hint)
    if envelope.flags & (BACKUP_ELIGIBLE | BACKED_UP):
        hint = "use a hardware key, not a synchronised passkey"
        raise _refused(f"flags {envelope.flags:#04x}: the key can be copied", "APPROVAL_FLAGS", hint)


def quorum(change: ChangeRecord, counted: Iterable[Approver]) -> str:
    """What is still missing, for people; empty when it is complete. A person counts once, and stands for one group."""
    required = change.required
    groups: dict[str, set[str]] = {}
    for approver in counted:
        mine = groups.setdefault(approver.person, set())
        mine.update(set(approver.groups) & set(required.groups) if required.groups else approver.groups)
    persons = [mine for mine in groups.values() if mine or not required.groups]
    missing = []
    if len(persons) < needed(change):
        missing.append(f"{needed(change) - len(persons)} more of {needed(change)} approvals")
    if needed(change):
        if standing_for(persons) < required.min_groups and (required.groups or required.min_groups > 1):
            missing.append(f"approvers of {required.min_groups} groups among {', '.join(required.groups) or 'all'}")
        if standing_for(persons, set(required.must_include)) < len(set(required.must_include)):
            missing.append(f"one approver of each of {', '.join(sorted(set(required.must_include)))}")
    return "; ".join(missing)


def standing_for(persons: list[set[str]], wanted: set[str] | None = None) -> int:
    """How many (wanted) groups these persons can stand for, one group each: a maximum matching."""
    taken: dict[str, int] = {}

    def place(person: int, tried: set[str]) -> bool:
        for group in sorted(persons[person] if wanted is None else persons[person] & wanted):
            if group not in tried:
                tried.add(group)
                if group not in taken or place(taken[group], tried):
                    taken[group] = person
                    return True
        return False

    return sum(place(person, set()) for person in range(len(persons)))


def _open(signature: str) -> Envelope:
    try:
        return sshsig.parse(signature, NAMESPACE)
    except Invalid as error:
        raise _refused(error.message, "APPROVAL_SIGNATURE", error.hint) from None


def _who(envelope: Envelope, enrolled: Enrolled, statement: bytes, issued: int, now: int) -> tuple[Signed, str]:
    enrolment = enrolled(envelope.key.fingerprint)
    if enrolment is None or enrolment.key != envelope.key or enrolment.application != envelope.key.application:
        raise _refused("nobody may approve with this key", "APPROVAL_KEY", "enrol it first: access.credential")
    try:
        signed = envelope.verify(statement)
    except Invalid as error:
        raise _refused(error.message, "APPROVAL_SIGNATURE", error.hint) from None
    over = enrolment.expires and enrolment.expires <= max(issued, now)
    if over or issued < enrolment.effective:
        raise _refused("the key was not enrolled then, or is no more", "APPROVAL_KEY", "sign with an enrolled key")
    return signed, enrolment.person


def _check_same(change: ChangeRecord, said: Statement, statement: bytes) -> None:
    step = re.match(r"([1-9][0-9]?)/", said.step, re.ASCII)
    number = int(step[1]) if step is not None else 0
    if not 1 <= number <= max(1, needed(change)):
        raise _refused("it is for a step that this change does not have", "APPROVAL_STATEMENT")
    root, times = said.seen_root, (said.issued, said.expires)
    expected = render(ask(change, said.person, number, said.seen_size, root, said.nonce, *times, said.note))
    if expected != statement:
        lines = zip(expected.decode().split("\n"), statement.decode().split("\n"), strict=False)
        ours, theirs = next((pair for pair in lines if pair[0] != pair[1]), ("", ""))
        hint = "sign the statement of the change as it is now"
        raise _refused(f"it says {theirs[:80]!r}; this change says {ours[:80]!r}", "APPROVAL_STATEMENT", hint)


def _check_window(change: ChangeRecord, said: Statement, now: int) -> None:
    valid_s = min(change.required.valid_s, VALID_S_MAX)
    hint = "check the clock, and sign again"
    if said.issued > now + SKEW_S:
        raise _refused("it was issued in the future", "APPROVAL_EXPIRED", hint)
    if now > said.expires + SKEW_S:
        raise _refused("it has expired", "APPROVAL_EXPIRED", hint)
    if not 0 < said.expires - said.issued <= valid_s or said.expires > change.expires:
        text = f"an approval lasts at most {valid_s} s and not longer than its change"
        raise _refused(text, "APPROVAL_EXPIRED", hint)


def _refused(message: str, reason: str, hint: str = "") -> Invalid:
    return Invalid(message, reason=reason, hint=hint or "`sealpress approve` makes a statement that counts")
