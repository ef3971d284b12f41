"""Is a long list told whole, page by page?"""

from __future__ import annotations

import pytest

from kit.town import Town
from kit.townsfolk import RELEASE, certificate, uri
from sealpress.governance import paths
from sealpress.rpc import approval, views


def test_all_that_waits_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it is: the oldest first, each change once, and the last page says that it is the last."""
    monkeypatch.setattr(views, "LIST_MAX", 2)
    town = Town()
    made = [town.request(certificate("ci-router"), RELEASE, [number]) for number in range(5)]
    desk = town.desk()
    pages = []
    after_seq = 0
    while True:
        page = approval.listed(desk, desk.actor(uri("rita")), after_seq)
        pages.append([one.change_id for one in page.changes])
        after_seq = page.next_after_seq
        if not after_seq:
            break

    assert pages == [made[:2], made[2:4], made[4:]]
    assert not approval.listed(desk, desk.actor(uri("ines")), 0).changes


def test_a_watcher_is_told_what_is_new() -> None:
    """What it has heard of is not made ready again."""
    town = Town()
    first, second = (town.request(certificate("ci-router"), RELEASE, [number]) for number in range(2))
    desk = town.desk()

    assert [one.change_id for one in approval.untold(desk, desk.actor(uri("rita")), {first})] == [second]


def test_what_a_watcher_was_told_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record of governance wakes all who watch: with thousands that wait they would hold up everybody else."""
    town = Town(strict=False)
    made = {town.request(certificate("ci-router"), RELEASE, [number]) for number in range(5)}
    judged: list[str] = []
    monkeypatch.setattr(paths, "groups_of", lambda desk, change, person: judged.append(change.record.change_id))
    desk = town.desk()

    assert not approval.untold(desk, desk.actor(uri("rita")), made) and not judged
    approval.untold(desk, desk.actor(uri("rita")), set())
    assert made == set(judged)
