"""Does a question to a process of its own come back with an answer, or with why there is none?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sealpress.hsm import inquiry

PROCESS = """
import os, time
import msgspec
from sealpress.errors import CannotStart
from sealpress.hsm import inquiry

class Ask(msgspec.Struct):
    word: str

def look(ask):
    match ask.word:
        case "hang":
            time.sleep(60)
        case "crash":
            os.abort()
        case "leave":
            os._exit(0)
        case "chatter":
            os.write(1, b"libvendor 4.2, trial licence\\n")
        case "refuse":
            raise CannotStart("no such module", reason="MODULE_MISSING", hint="")
    return [ask.word, os.getpid()]

inquiry.answer(Ask, look)
"""


class Ask(msgspec.Struct):
    """What the process understands."""

    word: str


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that answers by `inquiry.answer`."""
    (tmp_path / "inquired.py").write_text(PROCESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return "inquired"


def test_each_question_has_a_process_of_its_own(process: str) -> None:
    """Two questions are answered by two processes."""
    answers = [inquiry.ask(process, Ask("hello"), tuple[str, int]) for _ in range(2)]

    assert [word for word, _ in answers] == ["hello", "hello"]
    assert len({pid for _, pid in answers}) == 2


def test_what_a_module_prints_is_no_part_of_the_answer(process: str) -> None:
    """Some greet whoever loads them on standard output."""
    word, _ = inquiry.ask(process, Ask("chatter"), tuple[str, int])

    assert word == "chatter"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("refuse", "MODULE_MISSING: no such module"),
        ("crash", "it ended with -6"),
        ("hang", "within 1 s"),
        ("leave", "without"),
    ],
)
def test_no_answer_says_why(process: str, monkeypatch: pytest.MonkeyPatch, word: str, why: str) -> None:
    """A process that refuses, crashes or hangs is NoAnswer in words, never an exception of another kind."""
    monkeypatch.setattr(inquiry, "ANSWER_S_MAX", 1 if word == "hang" else inquiry.ANSWER_S_MAX)

    with pytest.raises(inquiry.NoAnswer, match=why):
        inquiry.ask(process, Ask(word), list)
