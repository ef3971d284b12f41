"""Is a configuration refused for what no node can bear?"""

from __future__ import annotations

from pathlib import Path

import pytest

from sealpress.config import LOGS_MAX, load
from sealpress.errors import ConfigError

NODE = 'schema = 1\n[node]\nname = "n"\ndata = "data"\nenvironment = "test"\n'


@pytest.mark.parametrize(
    "name", ["sign.example", "sign.example/a/b", "a/", "a/b c", "a/b+c", "a/b\\nc", "a/b\\n", "A/b"]
)
def test_a_log_has_a_name_that_its_proofs_can_bear(tmp_path: Path, name: str) -> None:
    """It is refused when it is written down: under another one everything would be signed, and nothing verify."""
    path = tmp_path / "sealpress.toml"
    path.write_text(f'{NODE}[log.ci]\nname = "{name}"\nkey = "k"\npublic_key = "p"\n')

    with pytest.raises(ConfigError, match=r"matching regex .* - at `\$\.log\[\.\.\.\]\.name`"):
        load(path)


def test_a_node_has_no_more_logs_than_its_process_has_room_for(tmp_path: Path) -> None:
    """The log that is one too many is refused by its section, not at its start as a disk that fails."""

    def configured(count: int) -> Path:
        text = NODE
        for number in range(count):
            text += f'[log.l{number}]\nname = "sign.example/l{number}"\nkey = "k"\npublic_key = "p"\n'
        path = tmp_path / "sealpress.toml"
        path.write_text(text)
        return path

    assert len(load(configured(LOGS_MAX)).log) == LOGS_MAX
    with pytest.raises(ConfigError, match=r"<= 64 - at `\$\.log`"):
        load(configured(LOGS_MAX + 1))
