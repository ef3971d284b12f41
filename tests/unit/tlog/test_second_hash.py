"""A flipped bit between hashing and storing stops the log before anything is signed, and a restart goes on."""

from __future__ import annotations

import mmap
import threading
import time
from pathlib import Path

import pytest

from kit.checkers import check_log
from kit.disk import FaultDisk
from kit.scribe import Act, Scribe
from sealpress.core.segment import segment_name
from sealpress.errors import Damaged


def flip(path: Path, offset: int) -> None:
    """One bit, through a mapping of its own."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        data[offset] ^= 4


def goes_on(scribe: Scribe, kept: list[Act]) -> None:
    """After a restart every acknowledged request is there, the rest is cut away, and the log is whole."""
    scribe.log.close()
    scribe.open(FaultDisk().address)
    for act in kept:
        assert scribe.log.stored(act.where).event == act.event
    assert scribe.log.size >= max(act.placed.first_leaf + act.placed.count for act in kept)
    scribe.request(2)
    scribe.log.close()
    check_log(scribe.settings.directory)


@pytest.mark.parametrize("nth", [1, 2])
def test_bytes_that_reach_the_file_changed_are_found(tmp_path: Path, nth: int) -> None:
    """The frames of the batch, or its COMMIT, lose a bit in the write: found at once or by the checksums after it."""
    disk = FaultDisk()
    disk.traits(0)  # the tree is in memory: a commit writes its frames and its COMMIT, nothing else
    scribe = Scribe(tmp_path / "log")
    scribe.open(disk.address)
    kept = scribe.request(3, 1)
    disk.bend(nth)
    with pytest.raises(Damaged, match="not what was hashed"):
        scribe.request(1, 200)
    with pytest.raises(Damaged):
        scribe.log.draft()
    goes_on(scribe, kept)


@pytest.mark.parametrize("back", [3, 40, 130, 150, 700, 6_000])
def test_a_bit_that_flips_in_the_mapping_before_the_sync_returns_is_found(tmp_path: Path, back: int) -> None:
    """The page changes under a log that is written through its mapping: in the COMMIT, in digests, in the head."""
    disk = FaultDisk()
    scribe = Scribe(tmp_path / "log", write="map")
    scribe.open(disk.address)
    kept = scribe.request(3)
    syncs = disk.calls("sync")
    disk.delay("sync", 300_000_000)
    place = scribe.log.reader.end
    path = scribe.settings.directory / "journal" / segment_name(place.segment)

    def meanwhile() -> None:
        while disk.calls("sync") == syncs:
            time.sleep(0.01)
        end = len(path.read_bytes().rstrip(b"\0"))
        flip(path, max(end - back, place.offset))

    other = threading.Thread(target=meanwhile)
    other.start()
    with pytest.raises(Damaged, match="not what was hashed"):
        scribe.request(200)
    other.join()
    goes_on(scribe, kept)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_node_that_changed_in_the_tree_is_found_before_the_next_head(tmp_path: Path, level: int) -> None:
    """A root that is folded from a damaged node is compared with one that never saw the tree."""
    scribe = Scribe(tmp_path / "log")
    scribe.open(FaultDisk().address)
    kept = scribe.request(6)  # with leaf 0: seven leaves, whose edge is one node of each level
    flip(scribe.settings.directory / "tree" / f"level-{level:02}", 32 * ((scribe.log.size >> level) - 1) + 5)
    with pytest.raises(Damaged, match="not what was hashed"):
        scribe.request(8)
    goes_on(scribe, kept)
