"""Is a configuration refused for what no node can bear?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import LOGS_MAX, load
from sealpress.errors import ConfigError


def test_a_node_has_no_more_logs_than_its_process_has_room_for(tmp_path: Path) -> None:
    """The log that is one too many is refused by its section, not at its start as a disk that fails."""

    def configured(count: int) -> Path:
        text = 'schema = 1\n[node]\nname = "n"\ndata = "data"\nenvironment = "test"\n'
        for number in range(count):
            text += f'[log.l{number}]\nname = "sign.example/l{number}"\nkey = "k"\npublic_key = "p"\n'
        path = tmp_path / "sealpress.toml"
        path.write_text(text)
        return path

    assert len(load(configured(LOGS_MAX)).log) == LOGS_MAX
    with pytest.raises(ConfigError, match=r"<= 64 - at `\$\.log`"):
        load(configured(LOGS_MAX + 1))
