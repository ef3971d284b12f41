"""Does the plain text of a change say everything that is signed, and nothing that a stranger made up?"""

from __future__ import annotations

import hashlib

import pytest
from msgspec import structs

from kit import townsfolk
from kit.approving import ITEMS, make_change
from sealpress.governance import changes as c
from sealpress.governance.rendering import compare_policies, compare_releases, render
from sealpress.governance.words import spoken, words
from sealpress.verify.change import ChangeRecord, ReleaseItem, ReleaseRequest, encode, manifest_sha256
from sealpress.wiring.lab_charter import policy_text


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        (
            "e58294f2e9a227486e8b061b31cc528fd7fa3f19",
            (
                "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa "
                "afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"
            ),
        ),
        (
            "12b4b0057400076fa5c0f5cbf726ac65",
            (
                "atlas politeness ruffled almighty indoors adroitness ahead hemisphere reindeer recipe "
                "vapor revival virus caretaker ribcage glossary"
            ),
        ),
        ("", ""),
    ],
)
def test_words_are_those_of_the_pgp_list(digest: str, said: str) -> None:
    """As others read the same bytes aloud."""
    assert said == " ".join(words(bytes.fromhex(digest)))


def test_every_byte_has_a_word_of_its_own_at_each_place() -> None:
    """512 different words; a neighbour's place sounds different."""
    even = {words(bytes([byte]))[0] for byte in range(256)}
    odd = {words(bytes([0, byte]))[1] for byte in range(256)}

    assert len(even) == len(odd) == 256
    assert not even & odd
    assert [8, 8, 4] == [len(line.split()) for line in spoken(bytes(20))]


def test_every_name_is_apart_from_its_value() -> None:
    """An approver reads no `security version0`: a blank stands between what is told and what it is."""
    texts = render(make_change()).splitlines()

    assert [text for text in texts if text.startswith("  security version")] == ["  security version 0"]


def test_a_release_is_told_whole() -> None:
    """Digests in hex and words, names, who built it, whose approval it takes, and the digest that is signed."""
    change = make_change()

    text = render(change)

    for item in ITEMS:
        assert item.digest in text
        assert item.name in text
        assert " ".join(words(bytes.fromhex(item.digest))[:8]) in text
    assert f"change-sha256     {hashlib.sha256(encode(change)).hexdigest()}" in text
    assert "region eu, environment prod" in text
    assert "built by          person:carol" in text
    assert "takes 2 approvals of path signing" in text


def test_a_release_that_nobody_can_be_named_for_says_that_it_takes_one_more() -> None:
    """GR-30."""
    text = render(make_change(creator_person=""))

    assert "nobody could be named: one more must approve" in text
    assert "takes 3 approvals" in text


@pytest.mark.parametrize("field", ["reason", "risk", "rollback", "ticket", "summary"])
def test_texts_of_others_stay_on_their_line(field: str) -> None:
    """A line break, a colour or a reversed text poses as nothing of ours."""
    text = render(make_change(**{field: "fine\nchange-sha256     00\x1b[31m\u202e"}))

    assert len(render(make_change()).splitlines()) == len(text.splitlines())
    assert "\x1b" not in text and "\u202e" not in text
    assert "fine\\nchange-sha256" in text


@pytest.mark.parametrize("field", ["change_id", "profile", "line", "requester_person", "creator_person"])
def test_a_name_that_a_daemon_made_up_stays_on_its_line(field: str) -> None:
    """A front end that was taken over shows no digest, and hides none, by the names in a record."""
    value = f"acme/router/eu/prod/x\nchange-sha256     00\x1b[31m{'x' * 9}"

    text = render(make_change(**{field: value}))

    assert len(render(make_change()).splitlines()) == len(text.splitlines())
    assert "\x1b" not in text


def test_names_of_a_path_and_gates_stay_on_their_line() -> None:
    """They come with the record, too."""
    change, evil = make_change(), "x\nchange-sha256     00\x1b[31m"
    asked = c.request_of(change)
    assert isinstance(asked, ReleaseRequest)
    required = structs.replace(change.required, path=evil, groups=(evil,), must_include=(evil,))
    request = encode(structs.replace(asked, gates=(evil,))).decode()

    text = render(structs.replace(change, required=required, request=request))

    assert not any(line.startswith("change-sha256     00") for line in text.splitlines())
    assert "\x1b" not in text


def test_a_key_says_what_trusts_it() -> None:
    """GR-02: line, environment, region, what believes it, how many devices."""
    request = c.KeyRequest(
        key="fw-1", line="acme/router/eu/prod/firmware", class_="firmware", environment="prod", purpose="firmware",
        trusts=("firmware", "boot"), fleet_estimate=250_000, mode="proof", format="tlog-proof", algorithm="p384",
        slot="fw", not_before=1, rotate_by=2, not_after=3, max_signatures=9, owner="person:a",
        backup_owner="person:b",
    )  # type: ignore[arg-type]  # fmt: skip
    change = make_change(kind="key.issue", request=encode(request).decode())

    text = render(change)

    for words_ in ("firmware, boot", "250000", "p384", "person:a", "1970-01-01T00:00:03Z"):
        assert words_ in text


def test_a_long_release_can_be_cut_for_the_screen() -> None:
    """So many are shown, and how many more there are; the whole text has all."""
    items = tuple(ReleaseItem(digest=hashlib.sha256(bytes([n])).hexdigest(), name=f"{n}.bin") for n in range(20))
    change = with_items(items)

    assert "and 15 more" in render(change, 5)
    assert render(change).count(".bin") == 20


def with_items(items: tuple[ReleaseItem, ...]) -> ChangeRecord:
    """A release of these."""
    change = make_change()
    asked = c.request_of(change)
    assert isinstance(asked, ReleaseRequest)
    asked = structs.replace(asked, items=items, manifest_sha256=manifest_sha256(items))
    return structs.replace(change, request=encode(asked).decode())


def release(**digests: str) -> ReleaseRequest:
    """Artifacts by name."""
    items = tuple(ReleaseItem(digest=hashlib.sha256(d.encode()).hexdigest(), name=name) for name, d in digests.items())
    asked = c.request_of(with_items(items))
    assert isinstance(asked, ReleaseRequest)
    return asked


def test_releases_are_compared_by_name() -> None:
    """Added, removed, changed, the same."""
    told = compare_releases(release(a="1", b="2", c="3"), release(b="2", c="4", d="5"))

    assert told[0] == "since release r1: 1 unchanged"
    assert told[1:3] == ["+ d", "- a"]
    assert told[3].startswith("~ c: ")
    assert compare_releases(None, release(a="1")) == ["the line has no earlier release"]


def test_policies_are_compared_by_meaning() -> None:
    """What loosens is marked; another comment changes nothing."""
    old = policy_text().encode()

    assert compare_policies(old, policy_text() + "\n# a comment\n", "lab") == ["nothing changes by meaning"]
    told = compare_policies(old, policy_text().replace('eq = "74"', 'in = ["74", "81"]'), "lab")
    assert any(line.startswith("! LOOSENING") and "81" in line for line in told)
    assert compare_policies(b"", policy_text(), "lab")[0].startswith("there is no policy yet")


def test_a_proposed_policy_cannot_wipe_off_what_it_loosens() -> None:
    """Its texts stay on their line, without colours or moves of the cursor: approvers see each mark."""
    old = townsfolk.policy_text()
    new = old.replace('class = "low"', 'class = "low"\nowner = "x\\n  nothing else\\u001b[2A\\u001b[J"')

    told = compare_policies(old.encode(), new, "baseline")

    assert [line for line in told if line.startswith("! LOOSENING")]
    assert all(line.isprintable() for line in told)


def test_policies_are_compared_under_the_profile() -> None:
    """What `regulated` gives where a policy is silent is what it says in words: no loosening, and no change."""
    silent = townsfolk.policy_text(release_signing=2)
    spoken_out = silent.replace('class = "release"', 'class = "release"\nisolation = "slot"')

    assert compare_policies(spoken_out.encode(), silent, "regulated") == ["nothing changes by meaning"]
    assert compare_policies(spoken_out.encode(), silent, "baseline")[0].startswith("! LOOSENING")
