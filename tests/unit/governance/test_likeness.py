"""Can a text that somebody chose look like another one to those who approve it?"""

from __future__ import annotations

import pytest

from kit.approving import make_change
from kit.town import Town
from kit.townsfolk import RELEASE, person
from sealpress.errors import Malformed
from sealpress.governance.changes import BindRequest, IssuerRequest
from sealpress.governance.rendering import render
from sealpress.governance.roles import Role

CYRILLIC = "\u043e"  # looks as the letter o


@pytest.mark.parametrize("blank", [" ", "\u2800", "\u3164", "\u115f", "\u1160", "\uffa0"])
@pytest.mark.parametrize("field", ["reason", "risk", "rollback", "ticket", "summary"])
def test_blanks_push_nothing_to_the_begin_of_a_line(field: str, blank: str) -> None:
    """A terminal breaks a long line: what stands behind many blanks would pose as a line of ours."""
    text = render(make_change(**{field: f"fine{blank * 76}takes 1 approvals of path signing"}))

    assert blank * 2 not in text.replace("\n", "").split("fine")[1].split("takes 1 approvals")[0]
    assert "takes 1 approvals of path signing" in text


def test_one_blank_between_words_is_a_blank() -> None:
    """Nobody reads a text that is all escapes."""
    assert "reason            a b c d" in render(make_change(reason="a b c d"))


@pytest.mark.parametrize("group", [f"{CYRILLIC}fficers", "key-officers  ", "x of another line", "Key-Officers"])
def test_a_group_is_one_that_a_policy_can_name(group: str) -> None:
    """Else it counts for nothing, and says what it likes in the line that approvers sign."""
    town = Town()
    asked = BindRequest(identity=person("lena"), role=Role.RELEASER, line=RELEASE, group=group)

    with pytest.raises(Malformed, match="no approval path names such a group"):
        town.propose("ada", "access.bind", asked)


@pytest.mark.parametrize("issuer", [f"https://t{CYRILLIC}ken.example", "https://ci.example of nobody", ""])
def test_an_issuer_is_named_as_its_tokens_do(issuer: str) -> None:
    """No other letters that look alike, and no words around it."""
    town = Town()
    asked = IssuerRequest(issuer=issuer, kind="gitlab", audience="a", owner=person("kim"))

    with pytest.raises(Malformed, match="in ASCII"):
        town.propose("ada", "access.issuer", asked)
