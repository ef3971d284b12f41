"""Is the code in the shape that its rules demand? Style that matters is a test; the message says what to do instead."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon" / "sealpress"
FUNCTION_LINES_MAX = 70
PYTHON_LINES_MAX = 400
C_LINES_MAX = 500

GENERATED = PACKAGE / "v1"


def python_files(*folders: str) -> list[Path]:
    """Every Python file below these folders that a person wrote."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if GENERATED not in path.parents and "build" not in path.parts]


def c_files() -> list[Path]:
    """The core, its native tests, the PKCS#11 shim and the lab's security key, without what a build leaves behind."""
    found = [*(ROOT / "csrc").glob("*.[ch]"), *(ROOT / "daemon").rglob("*.[ch]")]
    found += [*(ROOT / "tests").rglob("*.[ch]"), *(ROOT / "bench").rglob("*.[ch]")]
    return [path for path in sorted(found) if path.name != "_native.c"]


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def shown(path: Path) -> str:
    """The path as a person types it."""
    return str(path.relative_to(ROOT))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods and inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(tree: ast.Module) -> set[str]:
    """Every module that a file imports, and every `module.name` of its from-imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def called(tree: ast.Module) -> set[str]:
    """Every dotted name that a file mentions, like `time.time`."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def c_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and length of each function whose body begins and ends at the margin, as all of ours do."""
    lines = text.splitlines()
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            head = next((above for above in reversed(lines[:start]) if re.match(r"\w", above)), "?")
            yield head, number - start + 2
            start = None


def test_python_functions_are_short() -> None:
    """No Python function is longer than 70 lines."""
    too_long = [
        f"{shown(path)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in python_files("daemon", "tests", "bench", "csrc")
        for node in functions(tree_of(path))
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert too_long == []


def test_c_functions_are_short() -> None:
    """No C function is longer than 70 lines."""
    too_long = [
        f"{shown(path)} {head} has {length} lines"
        for path in c_files()
        for head, length in c_functions(path.read_text())
        if length > FUNCTION_LINES_MAX
    ]

    assert too_long == []


def beyond(most: int, paths: list[Path]) -> list[str]:
    """Those with more lines, and what to do: several things that one can think of alone are a file each."""
    lengths = {path: len(path.read_text().splitlines()) for path in paths}
    return [f"{shown(path)} has {lines} lines: split it by concept" for path, lines in lengths.items() if lines > most]


def test_python_files_are_short() -> None:
    """No Python file that a person wrote is longer than 400 lines: it is split by concept."""
    assert beyond(PYTHON_LINES_MAX, python_files("daemon", "tests", "bench", "csrc")) == []


def test_c_files_are_short() -> None:
    """No C file is longer than 500 lines: it is split by concept."""
    assert beyond(C_LINES_MAX, c_files()) == []


def test_every_test_is_one_promise() -> None:
    """Every test says in a docstring of one line what it promises; what else there is to say is a comment."""
    wordy = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in python_files("tests")
        for node in functions(tree_of(path))
        if node.name.startswith("test_") and len((ast.get_docstring(node) or "").splitlines()) != 1
    ]

    assert wordy == []


def test_daemon_is_a_source_root_only() -> None:
    """`daemon/` holds the package and never becomes one."""
    assert not (ROOT / "daemon" / "__init__.py").exists()


def test_only_core_imports_the_extension() -> None:
    """The extension is imported inside `sealpress.core` only (import-linter cannot see it); tests may look inside."""
    offenders = [
        shown(path)
        for path in python_files("daemon")
        if any("_native" in name.split(".") for name in imported(tree_of(path)))
        and PACKAGE / "core" not in path.parents
    ]

    assert offenders == []


def test_clients_in_other_languages_can_be_generated() -> None:
    """Each file of the API has its package in Go and its class in Java, where no two may have the name of a message."""
    texts = [path.read_text() for path in sorted((ROOT / "protos").rglob("*.proto"))]
    outer = re.compile(r'^option java_outer_classname = "(\w+)";$', re.M)
    names = [name for text in texts for name in outer.findall(text)]

    assert len(set(names)) == len(texts)
    assert not set(names) & {name for text in texts for name in re.findall(r"^(?:message|enum) (\w+)", text, re.M)}
    for text in texts:
        assert 'option go_package = "sealpress/v1;sealpressv1";' in text
        assert "option java_multiple_files = true;" in text


def test_grpc_stays_at_the_edge() -> None:
    """gRPC is imported in `rpc`, `client` and the wiring only."""
    allowed = (PACKAGE / "rpc", PACKAGE / "client", PACKAGE / "wiring.py", PACKAGE / "wiring")
    offenders = [
        shown(path)
        for path in python_files("daemon")
        if any(re.match(r"grpc(_\w+)?(\.|$)", name) for name in imported(tree_of(path)))
        and not any(place == path or place in path.parents for place in allowed)
    ]

    assert offenders == []


def test_time_and_randomness_come_from_one_place() -> None:
    """Only clock.py reads the time, only entropy.py asks for randomness; all others are handed a Clock or Entropy."""
    # The client library is others' code to run: it may do both.
    banned = {
        "clock.py": r"(time|datetime\.(now|utcnow|today)|date\.today)(\.|$)",
        "entropy.py": r"(os\.urandom|os\.getrandom|secrets|random|uuid\.uuid\d)(\.|$)",
    }
    offenders = []
    for path in python_files("daemon"):
        tree = tree_of(path)
        for owner, pattern in banned.items():
            names = imported(tree) | {name for name in called(tree) if not name.startswith("time.")}
            used = sorted(name for name in names if re.match(pattern, name))
            if used and path != PACKAGE / owner and PACKAGE / "client" not in path.parents:
                offenders.append(f"{shown(path)}: {', '.join(used)} (belongs into {owner})")

    assert offenders == []


def test_every_test_says_what_it_promises() -> None:
    """Each test module and each test has a docstring."""
    silent = []
    for path in python_files("tests", "bench"):
        tree = tree_of(path)
        if ast.get_docstring(tree) is None:
            silent.append(shown(path))
        silent += [
            f"{shown(path)}:{node.lineno} {node.name}"
            for node in functions(tree)
            if node.name.startswith("test_") and ast.get_docstring(node) is None
        ]

    assert silent == []


def test_the_core_knows_nothing_of_python() -> None:
    """No C file includes Python's header."""
    offenders = [shown(path) for path in c_files() if re.search(r"#\s*include\s*[<\"]Python\.h", path.read_text())]

    assert offenders == []


def test_no_leftover_markers() -> None:
    """What is left to do stands in the tracker, not in the code."""
    # The words are put together here so that this file does not find itself.
    marker = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    texts = [*python_files("daemon", "tests", "bench", "csrc"), *c_files(), *(ROOT / "protos").rglob("*.proto")]
    texts += [ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml"]

    assert [shown(path) for path in texts if marker.search(path.read_text())] == []


def test_no_placeholder_is_left_in_the_core() -> None:
    """Every C file does what its header says."""
    assert [shown(path) for path in c_files() if path.read_text().startswith("/* Placeholder")] == []


def code_blocks(text: str) -> list[str]:
    """The fenced blocks of a Markdown file."""
    return re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def tree_paths(block: str) -> Iterator[str]:
    """Paths of a tree drawn by indentation: two blanks or one `│   ├── ` per level, a comment after two blanks."""
    parents: list[tuple[int, str]] = []
    for line in block.splitlines():
        drawn = re.match(r"^([\s│├└─]*)(\S+)", line)
        if drawn is None:
            continue
        depth, name = len(drawn[1]), drawn[2]
        while parents and parents[-1][0] >= depth:
            parents.pop()
        path = "".join(parent for _, parent in parents) + name
        if name.endswith("/"):
            parents.append((depth, name))
        yield path


def readmes() -> list[Path]:
    """Every README of the repository."""
    found = [
        ROOT / "README.md",
        *(ROOT / folder / "README.md" for folder in ("daemon", "csrc", "protos", "tests", "bench")),
    ]
    return [path for path in found if path.exists()]


@pytest.mark.parametrize("readme", readmes(), ids=shown)
def test_readme_trees_are_true(readme: Path) -> None:
    """Every path in a tree block of a README exists. A tree block begins with a folder."""
    absent = []
    for block in code_blocks(readme.read_text()):
        if re.match(r"[\w.-]+/(\s|$)", block):
            absent += [path for path in tree_paths(block) if not (ROOT / path).exists()]

    assert absent == []


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands() -> set[str]:
    """The first word of every command of the program, taken from the program itself."""
    app = importlib.import_module("sealpress.cli.app").build()
    return set(getattr(typer.main.get_command(app), "commands", {}))


@pytest.mark.parametrize("readme", readmes(), ids=shown)
def test_readme_make_targets_exist(readme: Path) -> None:
    """Every `make X` that a README shows is a target."""
    text = "\n".join([*code_blocks(readme.read_text()), *re.findall(r"`([^`\n]+)`", readme.read_text())])
    named = set(re.findall(r"(?:^|[\s;&])make ([a-z][a-z-]*)", text, re.MULTILINE))

    assert named - make_targets() == set()


def test_readme_commands_exist() -> None:
    """Every `sealpress X` that a README shows is a command of the program."""
    known = commands()
    wrong = set()
    for readme in readmes():
        text = "\n".join([*code_blocks(readme.read_text()), *re.findall(r"`([^`\n]+)`", readme.read_text())])
        for words in re.findall(r"(?:^|[\s/])sealpress((?: [a-z][a-z-]*)+)", text, re.MULTILINE):
            path = words.split()
            if path[0] not in known:
                wrong.add(f"{shown(readme)}: sealpress {path[0]}")

    assert wrong == set()


@pytest.mark.parametrize("readme", readmes(), ids=shown)
def test_readme_names_tests_that_exist(readme: Path) -> None:
    """Every path below tests/ that a README names is there."""
    named = re.findall(r"`(tests/[\w./-]+)`", readme.read_text())

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_way_to_be_damaged_is_in_its_document() -> None:
    """DAMAGED-LOG.md has each reason with which daemon or signer end with exit 3: a person looks there first."""
    reasons = {
        value.value
        for path in python_files("daemon/sealpress")
        if path.name != "custodian.py"  # neither of the two
        for call in ast.walk(tree_of(path))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Damaged"
        for named in call.keywords
        if named.arg == "reason" and isinstance(value := named.value, ast.Constant)
    }
    document = (ROOT / "daemon" / "DAMAGED-LOG.md").read_text()

    assert len(reasons) > 12
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in document] == []


def test_make_test_is_what_the_readme_says() -> None:
    """The README names the one command that runs the tests."""
    assert "make test" in (ROOT / "README.md").read_text()
