"""Do the documents and the program say the same? What a reader looks up there, taken from the program and compared."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import typer

from kit.clock import VirtualClock
from sealpress.client import ClientConfig
from sealpress.config import Config, KeySection, Node, ProbeKey, Signer, SlotSection
from sealpress.governance.usage import _ADMITTED
from sealpress.telemetry import Telemetry

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon" / "sealpress"
DOCUMENTS = [ROOT / "README.md", ROOT / "protos" / "README.md", *sorted((ROOT / "daemon").glob("*.md"))]
# gRPC's code, as in protos/README.md, of each class of errors.py that a caller is answered with
CODES = {
    "Malformed": "INVALID_ARGUMENT",
    "NotPermitted": "PERMISSION_DENIED",
    "Precondition": "FAILED_PRECONDITION",
    "Conflict": "ALREADY_EXISTS",
    "OutcomeUnknown": "ABORTED",
    "Busy": "RESOURCE_EXHAUSTED",
    "Unavailable": "UNAVAILABLE",
    "TimedOut": "DEADLINE_EXCEEDED",
}
# where callers are answered, without what only witnesses, the signer or an operator hear
ANSWERING = [path for part in ("rpc", "steps", "governance") for path in sorted((PACKAGE / part).rglob("*.py"))]
ANSWERING += sorted(PACKAGE.glob("flow*.py"))
# how the command ends that such an error ends: cli/output.py
EXITS = {"Invalid": "1", "ConfigError": "2", "Damaged": "3", "CannotStart": "4"}
NOT_OF_THE_LOG = {"KEY_REMAINS"}  # the custodian's
NOT_ANSWERED = {"WITNESS_DOWN", "WITNESS_REFUSED", "WITNESS_NEWER", "NOT_COSIGNED", "EVIDENCE_MISSING"}


def named(path: Path) -> str:
    """What a document shows as code: blocks, and words between backticks."""
    text = path.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M))])


@cache
def program() -> Any:
    """The command line, all of it."""
    return typer.main.get_command(importlib.import_module("sealpress.cli.app").build())


def commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that lead to it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, one in (below or {}).items():
        yield from commands(one, *path, name)


def raised(paths: list[Path], told: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What `told` has for the class, and the reason, of every error that these files make."""
    for path in paths:
        for node in ast.walk(ast.parse(text)) if "reason=" in (text := path.read_text()) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in told:
                for keyword in node.keywords:
                    if keyword.arg == "reason" and isinstance(value := keyword.value, ast.Constant):
                        yield told[node.func.id], str(value.value)


def reasons() -> Iterator[tuple[str, str]]:
    """gRPC code and reason of everything that a caller may be answered with."""
    yield from raised(ANSWERING, CODES)
    yield from (("PERMISSION_DENIED", reason) for reason in _ADMITTED)


def hints() -> Iterator[tuple[str, str]]:
    """What errors say to do, as far as it is written as text, and the file that says it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(text)) if "hint=" in (text := path.read_text()) else ():
            if isinstance(node, ast.keyword) and node.arg == "hint":
                words = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
                yield path.name, "".join(word for word in words if isinstance(word, str))


def test_every_metric_is_in_the_manual() -> None:
    """Operators find each metric of `serve` in a document, and none that is not there any more."""
    exposed = Telemetry(VirtualClock(), io.StringIO()).exposition().decode()
    kept = {name for name in re.findall(r"^# TYPE (\S+)", exposed, re.MULTILINE) if not name.endswith("_created")}
    told = {name for path in DOCUMENTS for name in re.findall(r"sealpress_[a-z_]+[a-z]", named(path))}

    assert told == kept


def test_every_reason_is_in_the_manual_of_the_api() -> None:
    """Whoever decides by the reason finds it in protos/README.md, at the gRPC code with which it comes."""
    text = (ROOT / "protos" / "README.md").read_text()
    section = text[text.index("## Errors") : text.index("## Changes and approvals")]
    by_code: dict[str, set[str]] = {}
    for code, rest in re.findall(r"^\| ([A-Z_]+) \|(.*)$", section, re.MULTILINE):
        by_code.setdefault(code, set()).update(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", rest))
    absent = {(code, reason) for code, reason in reasons() if reason not in by_code[code] | NOT_ANSWERED}
    texts = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    gone = {reason for named in by_code.values() for reason in named if f'"{reason}"' not in texts} - by_code.keys()

    assert len(set(reasons())) > 90
    assert (sorted(absent), sorted(gone)) == ([], [])


def test_settings_that_documents_name_are_there() -> None:
    """Each `[section] key` and `section.key` of a document is a setting of sealpress.toml."""
    sections: dict[str, set[str]] = {}
    for field in msgspec.structs.fields(Config):
        for type_ in re.findall(r"sealpress\.config\.(\w+)", str(field.type)):
            made = getattr(importlib.import_module("sealpress.config"), type_)
            sections.setdefault(field.name, set()).update(one.encode_name for one in msgspec.structs.fields(made))
    form = re.compile(r"\[(\w+)(?:\.<id>)?\] ([a-z_]+)|\b([a-z]+)\.([a-z]+(?:_[a-z]+)+)\b")
    named_so = {(path.name, a or c, b or d) for path in DOCUMENTS for a, b, c, d in form.findall(named(path))}
    wrong = {told for told in named_so if told[1] in sections and told[2] not in sections[told[1]]}

    assert len(named_so) > 12
    assert len(sections) > 12
    assert sorted(wrong) == []


def test_printed_configurations_have_keys_that_are_there() -> None:
    """What a document prints of sealpress.toml can be typed as it is, and its numbers are the defaults."""
    printed = 0
    for path in DOCUMENTS:
        for block in re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            for section, told in tomllib.loads(block).items():
                for made, values in sections_of(section, told):
                    fields = {one.encode_name: one for one in msgspec.structs.fields(made)}
                    printed += 1
                    assert sorted(set(values) - set(fields)) == [], f"{path.name}: [{section}]"
                    numbers = {name: value for name, value in values.items() if type(value) in (int, bool)}
                    assert {name: fields[name].default for name in numbers} == numbers, f"{path.name}: [{section}]"

    assert printed >= 5


def sections_of(section: str, told: Any) -> Iterator[tuple[type[msgspec.Struct], dict[str, Any]]]:
    """The structs of config.py that a printed section stands for, with what it says."""
    one = {"slot": SlotSection, "key": KeySection}.get(section)
    if one is not None:
        for values in told.values() if isinstance(told, dict) else ():  # client.toml has a `key`, too
            yield one, values
            if "probe_key" in values:
                yield ProbeKey, values["probe_key"]
    elif section in ("node", "signer"):
        yield {"node": Node, "signer": Signer}[section], told


def test_commands_and_options_that_documents_show_are_there() -> None:
    """Each `sealpress …` of a document or of a hint is a command, and its options are those of that command."""
    known = {path: {opt for one in command.params for opt in one.opts} for path, command in commands(program())}
    every = {"--help"}.union(*known.values())
    wrong = {f"{name}: {one}" for name, text in hints() for one in re.findall(r"--[a-z-]+", text) if one not in every}
    for name, text in [*((path.name, named(path)) for path in DOCUMENTS), *hints()]:
        for shown in re.findall(r"(?:^|[\s/(`])sealpress ([a-z][^\n|`]*)", text, re.MULTILINE):
            words = [word.strip("`.,;:()…") for word in shown.split("#")[0].split("&&")[0].split()]
            found = tuple(words[:2]) if tuple(words[:2]) in known else tuple(words[:1])
            groups = {one[0] for one in known if len(one) == 2}
            if found not in known and not (words[0] in groups and (len(words) == 1 or not words[1].isalpha())):
                wrong.add(f"{name}: sealpress {shown}")
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            wrong |= {f"{name}: {found} {option}" for option in options - known.get(found, options) - {"--help"}}

    assert len(known) > 60 and len(list(hints())) > 200
    assert sorted(wrong) == []


def test_every_option_says_what_it_is() -> None:
    """`--help` of each command has a sentence for it and a text for each argument and option."""
    silent = [
        f"{' '.join(path)}: {one.name}"
        for path, command in commands(program())
        for one in command.params
        if one.name != "help" and not (one.help and command.help)
    ]

    assert silent == []


def test_the_clients_file_is_in_the_readme() -> None:
    """Who writes a client.toml finds each of its keys in README.md."""
    text = (ROOT / "README.md").read_text()
    keys = [field.encode_name for field in msgspec.structs.fields(ClientConfig) if field.name != "base"]

    assert [key for key in keys if f"\n{key} = " not in text] == []


def test_what_log_verify_finds_is_in_its_document() -> None:
    """DAMAGED-LOG.md has each reason with which `log verify` stops: a person looks there first."""
    texts = "".join(path.read_text() for path in (PACKAGE / "tlog").rglob("*.py"))
    found = re.search(r"^    reason: str  # (HEADER, [A-Z_, ]+)$", texts, re.MULTILINE)
    document = (ROOT / "daemon" / "DAMAGED-LOG.md").read_text()

    assert found is not None
    assert [reason for reason in found[1].split(", ") if f"`{reason}`" not in document] == []


def test_what_ends_a_node_is_in_its_document() -> None:
    """DAMAGED-LOG.md has each reason of exit 3, and none with another exit code than it comes with."""
    made = {(reason, code) for code, reason in raised(sorted(PACKAGE.rglob("*.py")), EXITS)}
    document = (ROOT / "daemon" / "DAMAGED-LOG.md").read_text()
    told = set()
    for cell, codes in re.findall(r"^\| (`[^|]+) \| ([\d, ]+) \|", document, re.MULTILINE):
        names, ends = re.findall(r"`([A-Z_]+)`", cell), codes.split(", ")
        told |= set(zip(names, ends * len(names) if len(ends) == 1 else ends, strict=len(ends) > 1))

    assert len(told) > 25
    assert sorted(told - made) == []
    assert (
        sorted({reason for reason, code in made if code == "3"} - {reason for reason, _ in told} - NOT_OF_THE_LOG) == []
    )


def test_requirements_have_a_meaning() -> None:
    """Each GR-nn of a document or of what the program says has its line in GOVERNANCE.md."""
    texts = [path.read_text() for path in [*DOCUMENTS, PACKAGE / "config.py"]]
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(text)) if "GR-" in (text := path.read_text()) else ():
            if isinstance(node, ast.Call):
                texts += [str(one.value) for one in ast.walk(node) if isinstance(one, ast.Constant)]
    used = {name for text in texts for name in re.findall(r"GR-\d+", text)}
    told = set(re.findall(r"^\| (GR-\d+) \|", (ROOT / "daemon" / "GOVERNANCE.md").read_text(), re.MULTILINE))

    assert sorted(used - told) == []
