"""Can anchors be made of the draft that GOVERNANCE.md shows?"""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from kit.softkeys import SoftKey
from sealpress.cli.app import build
from sealpress.verify.anchors import parse

DOCUMENT = Path(__file__).resolve().parents[3] / "daemon" / "GOVERNANCE.md"


def test_the_draft_in_the_manual_is_complete(tmp_path: Path) -> None:
    """With a key for each file that it names, `anchors make` takes it as it is printed; again, until it is signed."""
    found = re.search(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    draft, target = tmp_path / "draft.toml", tmp_path / "anchors.json"
    draft.write_text(found[1])
    for name in re.findall(r'"([\w-]+\.pub)"', found[1]):
        (tmp_path / name).write_text(SoftKey.make().line)
    for _ in range(2):
        done = CliRunner().invoke(build("anchors"), ["anchors", "make", str(draft), "--output", str(target)])
        assert done.exit_code == 0, done.output
    made = parse(target.read_bytes())
    assert (made.profile, made.root_threshold, list(made.lines)) == ("baseline", 2, ["acme/router/eu/prod/firmware"])

    (tmp_path / "anchors.json.anna.sig").write_text("signed")
    before = target.read_bytes()
    done = CliRunner().invoke(build("anchors"), ["anchors", "make", str(draft), "--output", str(target)])
    assert (done.exit_code, target.read_bytes()) == (2, before)
    assert "anchors.json.anna.sig" in done.output
