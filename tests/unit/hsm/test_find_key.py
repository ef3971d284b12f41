"""A key is looked up on a token whose searches do not end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from sealpress.errors import CannotStart
from sealpress.hsm.module import Token


class Nameless(dict[object, bytes]):
    """An object that tells nothing of itself."""

    key_type = None
    handle = 1


class Endless:
    """A session that finds the same object for ever, as modules do that forget where they were."""

    def __init__(self, most: int) -> None:
        self.given = itertools.count()
        self.most = most

    def get_objects(self, template: object) -> Iterator[Nameless]:
        """One more, until somebody has taken too many."""
        del template
        while next(self.given) < self.most:
            yield Nameless()
        pytest.fail("all of it was wanted")


def test_a_search_without_end_fills_no_memory() -> None:
    """It is over after a few objects, with the error of a key that is there several times."""
    token = Token.__new__(Token)
    token._anchor = Endless(10_000)
    with pytest.raises(CannotStart) as caught:
        token.find_key("k1", b"\1", "", b"spki")
    assert caught.value.reason == "KEY_NOT_FOUND"
