"""Is a key file that is replaced while it is read, read again?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit.issuer import Issuer
from sealpress.reading import open_regular
from sealpress.rpc import jwks
from sealpress.rpc.jwks import from_file


async def test_a_file_replaced_while_it_is_opened_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts as seen is the file that was read: keys that took its place meanwhile come at the next look."""
    issuer, path = Issuer(), tmp_path / "keys.json"
    old = issuer.write(path).read_bytes()
    issuer.rotate()
    new = issuer.write(tmp_path / "next").read_bytes()
    read = from_file(path)

    def replaced(opened: Path) -> Any:
        file = open_regular(opened)
        (tmp_path / "next").replace(path)
        return file

    with monkeypatch.context() as patch:
        patch.setattr(jwks, "open_regular", replaced)
        first = await read()
    assert (first, await read()) == (old, new)
