"""Does every fact come back from its record as it was, and from one spelling only?"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from kit.life import Life
from kit.town import Leaf, Town
from kit.verbs import VERBS, do
from sealpress.errors import Invalid
from sealpress.governance import changes as c
from sealpress.governance import facts as f
from sealpress.governance.facts import KINDS, body_of, decode, kind_of
from sealpress.verify.change import ChangeRecord, ReleaseItem, Required
from sealpress.verify.change import decode as decode_record


def sample(type_: Any, name: str = "") -> Any:
    """Some value of a field's type."""
    origin, args = get_origin(type_), get_args(type_)
    if origin is Annotated:
        patterns = [meta.pattern for meta in args[1:] if getattr(meta, "pattern", None)]
        return "0" * 64 if patterns else sample(args[0], name)
    if origin is Literal:
        return args[-1]
    if origin in (Union, types.UnionType):
        return sample(args[0], name)
    if origin is tuple:
        return (sample(args[0]), sample(args[0]) + "2") if args[0] is not ChangeRecord else ()
    if origin in (dict, Mapping):
        return {"extractable": False, "sensitive": True}
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return next(iter(type_))
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return made(type_)
    return {str: f"ä {name}", int: 7, bool: True}[type_]


def made(type_: type[msgspec.Struct]) -> Any:
    """A struct with something in every field."""
    hints = get_type_hints(type_, include_extras=True)
    return type_(**{name: sample(hints[name], name) for name in type_.__struct_fields__})


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_survives_its_encoding(kind: str) -> None:
    """Every kind comes back equal, with every field filled."""
    fact = made(KINDS[kind])

    assert kind == kind_of(fact)
    assert fact == decode(kind, body_of(fact))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"policy"}))
def test_a_fact_has_one_spelling(kind: str) -> None:
    """A blank more, a field more, a field less, another kind's body: Invalid."""
    body = body_of(made(KINDS[kind]))
    fields = msgspec.json.decode(body)
    short = {name: value for name, value in fields.items() if name != list(fields)[-1]}
    wrong = [body + b" ", b" " + body, msgspec.json.encode({**fields, "more": 1}), msgspec.json.encode(short)]
    other = next(name for name in KINDS if name not in (kind, "policy"))

    for raw in wrong:
        with pytest.raises(Invalid):
            decode(kind, raw)
    with pytest.raises(Invalid):
        decode(other, body)


@pytest.mark.parametrize(
    ("type_", "name", "good"),
    [
        (ReleaseItem, "digest", "0" * 64), (f.PolicyScheduled, "policy_sha256", "0" * 64),
        (c.EnrolRequest, "identity", "person:alice"), (c.KeyRequest, "key", "k-1"),
    ],
)  # fmt: skip
def test_nothing_follows_a_digest_or_an_id(type_: type[msgspec.Struct], name: str, good: str) -> None:
    """A line end behind it makes a second spelling, which looks the same and is another one."""
    fields = {**msgspec.to_builtins(made(type_)), name: good}
    assert msgspec.json.decode(msgspec.json.encode(fields), type=type_)

    with pytest.raises(Invalid):
        decode_record(msgspec.json.encode({**fields, name: f"{good}\n"}), type_)


def test_an_unknown_kind_is_invalid() -> None:
    """Neither a kind that nobody knows nor a policy that is no text."""
    for kind, body in (("no.such", b"{}"), ("policy", b"\xff"), ("log.created", b"{}")):
        with pytest.raises(Invalid):
            decode(kind, body)


def test_a_policy_is_its_bare_file() -> None:
    """An auditor finds the file itself in the record."""
    assert b"schema = 1\n" == body_of(f.PolicyInForce(body="schema = 1\n"))


def test_every_kind_is_folded_and_named_once() -> None:
    """The kinds are distinct, and the union names them all."""
    assert len(KINDS) == len(f.Fact.__args__)
    assert all(kind_of(made(type_)) == kind for kind, type_ in KINDS.items())


def test_what_the_rules_say_survives() -> None:
    """So does everything that happens in a busy town; every fact is a value that can be hashed or compared."""
    life = Life(Town())
    for number in range(300):
        do(life, VERBS[number % len(VERBS)], number * 7_919)

    said = [fact for fact in life.town.history if not isinstance(fact, Leaf)]
    assert said == [decode(kind_of(fact), body_of(fact)) for fact in said]
    assert len({kind_of(fact) for fact in said}) >= 12


def test_a_record_holds_a_change_with_all_it_needs() -> None:
    """The change in the record is what was signed: its digest follows from the record's bytes."""
    change = made(ChangeRecord)
    fact = f.ChangeSubmitted(change=change)

    again = decode("change.submitted", body_of(fact))

    assert isinstance(again, f.ChangeSubmitted)
    assert change.sha256 == again.change.sha256
    assert made(Required) == again.change.required
