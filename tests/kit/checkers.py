"""The judge of tests: whoever touched a log, it must still be whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealpress.tlog import check
from sealpress.tlog.identity import identity
from sealpress.tlog.report import Report


def check_log(
    directory: Path,
    name: str | None = None,
    number: int | None = None,
    *,
    keys: Sequence[str] = (),
    older: bytes | None = None,
    torn: bool = False,
) -> Report:
    """Re-verify a whole log; AssertionError names the first bad position.

    Without name and number they are taken from its first record. `torn`: a torn tail may be there (a kill).
    """
    if name is None or number is None:
        name, number = identity(directory)
    report = check.check_log(directory, name, number, keys=keys, older=older)
    assert report.bad is None, f"{directory}: {report.bad}"
    assert torn or report.tail is None, f"{directory}: {report.tail}"
    return report
