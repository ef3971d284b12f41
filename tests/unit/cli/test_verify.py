"""Is one who verifies many files told of each in time, and of all in the end?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sealpress.cli import verify

GOOD = {"path": "a", "format": "ecdsa-der"}
BAD = {"path": "b", "error": {"reason": "NO_ANSWER", "message": "there is none", "hint": ""}}


def test_a_file_is_told_before_the_next_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 files take half a minute: one sees how they go, and no result waits in memory for the last."""
    told: list[str] = []
    monkeypatch.setattr(verify, "say", told.append)

    def judged() -> Iterator[dict[str, Any]]:
        for number, result in enumerate((GOOD, BAD, GOOD)):
            assert len(told) == number
            yield result

    assert verify._tell(judged()) == 1
    assert [line.partition(" ")[0] for line in told] == ["ok", "FAILED", "ok", "2"]
    assert told[-1] == "2 verified, 1 failed"
