"""Does every status of the core have a name and a text, and does `check` raise them all?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealpress.core import status
from sealpress.errors import CoreError

ROOT = Path(__file__).resolve().parents[3]


def test_every_status_has_name_and_text() -> None:
    """Codes, names and texts are unique, named in one way, and none is empty."""
    known = status.statuses()
    texts = [status.status_text(code) for code in known.values()]

    assert known.pop("SP_OK") == 0
    assert all(re.fullmatch(r"SP_E_[A-Z0-9_]+", name) for name in known)
    assert all(code < 0 for code in known.values())
    assert len(set(known.values())) == len(known)
    assert len(set(texts)) == len(texts)
    assert all(len(text) > 3 for text in texts)


def test_the_list_is_the_header() -> None:
    """Python sees exactly the rows of sp_status.h."""
    rows = re.findall(r"X\((-?\d+), (SP_\w+),", (ROOT / "csrc" / "sp_status.h").read_text())

    assert {name: int(code) for code, name in rows} == status.statuses()


def test_check_raises_each() -> None:
    """SP_OK passes; everything else raises a CoreError that says which it was."""
    status.check(0)
    for name, code in status.statuses().items():
        if code != 0:
            with pytest.raises(CoreError) as caught:
                status.check(code)

            assert (caught.value.status, caught.value.name) == (code, name)
            assert caught.value.message.startswith(status.status_text(code))


def test_unknown_status_still_raises() -> None:
    """A number that no status has is an error too, never silence."""
    for code in (1, -9999):
        with pytest.raises(CoreError) as caught:
            status.check(code)

        assert caught.value.name == "SP_E_UNKNOWN"
