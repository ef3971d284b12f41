"""A number, taken apart into choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Pick:
    """A number, taken apart into choices."""

    def __init__(self, number: int) -> None:
        """From 0 up; 0 is always the first choice."""
        self._left = number

    def below(self, size: int) -> int:
        """0 to size - 1."""
        self._left, found = divmod(self._left, size)
        return found

    def of(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.below(len(choices))]

    def odd(self, out_of: int) -> bool:
        """True once in so many times."""
        return self.below(out_of) == out_of - 1
