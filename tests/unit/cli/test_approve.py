"""Does `sealpress approve` sign nothing but what it showed?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from kit.approving import ITEMS, NOW, ROOT, make_change
from kit.townsfolk import policy_text
from sealpress.cli.approve import _difference, _matched, _shown, check_statement
from sealpress.cli.change import checked
from sealpress.cli.governing import plain
from sealpress.errors import Invalid
from sealpress.governance.changes import PolicyRequest
from sealpress.v1 import governance_pb2
from sealpress.verify.change import ReleaseItem, encode
from sealpress.verify.statement import ask, render


def statement(change: Any, **other: Any) -> bytes:
    """What a daemon hands out for a change."""
    said = ask(change, "person:alice", 1, 17, ROOT, "9f" * 16, NOW, NOW + 3_600)
    return render(said if not other else type(said)(**{**_fields(said), **other}))


def _fields(said: Any) -> dict[str, Any]:
    return {name: getattr(said, name) for name in said.__dataclass_fields__}


def test_the_honest_statement_is_signed() -> None:
    """It follows from the record."""
    change = make_change()

    check_statement(change, statement(change), "")


@pytest.mark.parametrize(
    "other",
    [
        {"change_sha256": "00" * 32}, {"change_id": "01JD8W6Q2N0K3M7T9V5X1Z4B6D"}, {"change_kind": "key.resume"},
        {"line": "acme/router/eu/prod/boot"}, {"summary": "1 artifact"}, {"policy_sha256": "00" * 32},
        {"deployment": "other"}, {"log": "other/log"}, {"decision": "reject"}, {"note": "and the other one, too"},
    ],
)  # fmt: skip
def test_a_statement_about_something_else_is_not(other: dict[str, Any]) -> None:
    """Whatever a daemon changes in it beyond person, step, checkpoint, nonce and times."""
    change = make_change()

    with pytest.raises(Invalid):
        check_statement(change, statement(change, **other), "")


def test_a_note_is_the_approvers_own() -> None:
    """The note that was asked for, and no other."""
    change = make_change()

    check_statement(change, statement(change, note="read twice"), "read twice")
    with pytest.raises(Invalid):
        check_statement(change, statement(change), "read twice")


def test_a_digest_of_another_record_is_refused() -> None:
    """The digest is made here, from the bytes that are shown."""
    change = make_change()
    raw = encode(change)
    shown = SimpleNamespace(record=raw, sha256=hashlib.sha256(raw).digest(), change_id=change.change_id)

    assert checked(shown) == change
    for wrong in (
        SimpleNamespace(record=raw, sha256=bytes(32), change_id=change.change_id),
        SimpleNamespace(record=raw, sha256=shown.sha256, change_id="another"),
        SimpleNamespace(record=raw + b" ", sha256=hashlib.sha256(raw + b" ").digest(), change_id=change.change_id),
    ):
        with pytest.raises(Invalid):
            checked(wrong)


def test_another_change_than_the_one_that_was_named_is_not_signed() -> None:
    """Consistent, and with the statement that goes with it: with --yes --json nobody reads which one it is."""
    change = make_change()
    raw = encode(change)
    shown = SimpleNamespace(record=raw, sha256=hashlib.sha256(raw).digest(), change_id=change.change_id)
    daemon: Any = SimpleNamespace(
        change=lambda _: SimpleNamespace(change=shown, previous=b""), statement=lambda *_: statement(change)
    )

    assert _shown(daemon, change.change_id, "", [], quiet=True) == statement(change)
    with pytest.raises(Invalid, match="another change"):
        _shown(daemon, "01JD8W6Q2N0K3M7T9V5X1Z4B6D", "", [], quiet=True)


def test_artifacts_are_hashed_again(tmp_path: Path) -> None:
    """A file of the release is named; one that is not in it stops the approval."""
    (tmp_path / "a.bin").write_bytes(b"a.bin")
    (tmp_path / "z.bin").write_bytes(b"z")
    change = make_change()
    assert ITEMS[0] == ReleaseItem(digest=hashlib.sha256(b"a.bin").hexdigest(), name="a.bin")

    assert _matched(change, [tmp_path / "a.bin"]) == [f"{tmp_path / 'a.bin'} is a.bin of the release"]
    with pytest.raises(Invalid):
        _matched(change, [tmp_path / "z.bin"])
    assert _matched(structs.replace(change), []) == []


def test_messages_become_json_that_people_read() -> None:
    """Digests in hex, texts as text, empty fields present."""
    told = plain(governance_pb2.Change(change_id="x", sha256=b"\x01" * 32, record=b'{"a":1}', approvals=[{}]))

    assert told["sha256"] == "01" * 32
    assert told["record"] == '{"a":1}'
    assert told["approvals"][0]["person"] == ""
    assert told["missing"] == ""


@pytest.mark.parametrize("previous", [b"", b"schema = 1\n"])
def test_a_policy_is_compared_with_the_one_that_its_record_names(previous: bytes) -> None:
    """A daemon that shows another one, or says that there is none, hides what loosens: that is told instead."""
    request = encode(PolicyRequest(policy=policy_text())).decode()
    change = make_change(kind="policy.change", line="", request=request, policy_sha256="ab" * 32)

    assert _difference(change, previous) == ["the policy changed since this was proposed: it will not count"]
    first = structs.replace(change, policy_sha256="0" * 64)
    assert _difference(first, b"")[1].startswith("there is no policy yet")
