"""An approval judged as the daemon would: one change, one person, and why it does not count."""

from __future__ import annotations

import pytest

from kit.approving import NOW, ROOT, Person, make_change
from sealpress.errors import Invalid
from sealpress.verify import approval
from sealpress.verify.approval import Counted
from sealpress.verify.change import ChangeRecord
from sealpress.verify.statement import NAMESPACE, Statement, render

CHANGE = make_change()
ALICE = Person()


def seen(size: int, root: bytes) -> bool:
    """Our log had this root at size 17."""
    return (size, root) == (17, ROOT)


def check(change: ChangeRecord, said: tuple[bytes, str], who: Person = ALICE, now: int = NOW) -> Counted:
    """Judge it as the daemon would."""
    return approval.check(change, *said, who.enrolled, now, seen)


def refused(change: ChangeRecord, said: tuple[bytes, str], who: Person = ALICE, now: int = NOW) -> str:
    """The reason why it does not count."""
    with pytest.raises(Invalid) as caught:
        check(change, said, who, now)
    assert caught.value.hint
    return caught.value.reason


def signed(statement: Statement, who: Person = ALICE) -> tuple[bytes, str]:
    """A person signs a statement as it is, whatever it says."""
    raw = render(statement)
    return raw, who.key.sign(raw, NAMESPACE)
