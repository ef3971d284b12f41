"""Names of files as the core takes them: any bytes that the system has for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.logs import LOG_ID, SALT_KEY, SMALL, segment_path
from kit.scribe import NAME, Scribe
from sealpress.core.index import OPEN_KEY, Index
from sealpress.core.journal import Journal
from sealpress.core.merkle import Tree
from sealpress.core.segment import Segment
from sealpress.errors import CoreError
from sealpress.tlog.check import check_log


def test_a_log_may_lie_where_the_name_is_not_utf_8(tmp_path: Path) -> None:
    """Written, indexed, and verified with its tree below such a directory as below any other."""
    scribe = Scribe(tmp_path / os.fsdecode(b"\xffversign"), 3)
    scribe.open()
    scribe.history(5)
    scribe.log.seal_segment()
    scribe.log.close()
    directory = scribe.settings.directory
    with Segment(segment_path(directory, 0)) as segment:
        index = Index.build(segment)
        index.save(directory, segment)
        assert index.find(OPEN_KEY) == Index.open(directory, segment).find(OPEN_KEY)

    report = check_log(directory, NAME, 1)

    assert (True, "match") == (report.ok, report.tree_files)


OPENERS: dict[str, Callable[[Path], object]] = {
    "tree": Tree,
    "segment": Segment,
    "journal": lambda path: Journal(path, LOG_ID, SALT_KEY, SMALL),
}


@pytest.mark.parametrize("what", OPENERS)
def test_a_name_with_a_zero_byte_is_refused_and_not_cut_short(tmp_path: Path, what: str) -> None:
    """SP_E_ARGUMENT: what stands in front of the zero byte is another file's name."""
    with pytest.raises(CoreError) as caught:
        OPENERS[what](tmp_path / "log\0")

    assert caught.value.name == "SP_E_ARGUMENT"
