"""Is a configuration refused for what no node can bear?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec.inspect
import pytest

from sealpress.config import LOGS_MAX, Config, load
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


def numbers(kind: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every whole number below a type, by its name."""
    match kind:
        case msgspec.inspect.StructType():
            for field in kind.fields:
                yield from numbers(field.type, f"{name}.{field.encode_name}")
        case msgspec.inspect.DictType():
            yield from numbers(kind.value_type, f"{name}.*")
        case msgspec.inspect.VarTupleType():
            yield from numbers(kind.item_type, name)
        case msgspec.inspect.UnionType():
            for one in kind.types:
                yield from numbers(one, name)
        case msgspec.inspect.IntType():
            yield name, kind


def test_every_number_has_a_smallest_and_a_largest_value() -> None:
    """One that is too large is refused with its name; without a bound it was an overflow, exit 1, again and again."""
    found = dict(numbers(msgspec.inspect.type_info(Config)))

    assert len(found) >= 50
    assert [name for name, kind in found.items() if kind.ge is None or kind.le is None] == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (NODE.replace('"data"', '""'), "$.node.data"),
        (NODE.replace('"data"', '"a\\u0000b"'), "$.node.data"),
        (NODE + '[signer]\nstate = ""\n', "$.signer.state"),
        (NODE + '[tls]\ncert = ""\nkey = "k"\n', "$.tls.cert"),
        (NODE + '[[listen]]\naddress = "localhost:1"\nservices = []\n', "$.listen[0].services"),
    ],
)
def test_a_place_that_is_none_is_named(tmp_path: Path, text: str, place: str) -> None:
    """An empty path would be the folder where the daemon was started; no file has a zero byte in its name."""
    path = tmp_path / "sealpress.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"at `{place}`" in caught.value.message


@pytest.mark.parametrize(
    ("module", "found"),
    [("hsm/module.so", "{}/hsm/module.so"), ("./module.so", "{}/module.so"), ("/usr/lib/m.so", "/usr/lib/m.so"),
     ("module.so", "module.so")],
)  # fmt: skip
def test_a_module_counts_from_the_file(tmp_path: Path, module: str, found: str) -> None:
    """As every path does, and not from where the signer was started; the loader has its own places for a bare name."""
    path = tmp_path / "sealpress.toml"
    path.write_text(f'{NODE}[slot.s]\nmodule = "{module}"\nlabel = "l"\n')

    assert load(path).slot["s"].module == found.format(tmp_path)
