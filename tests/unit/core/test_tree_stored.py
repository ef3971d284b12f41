"""Do the stored levels survive a restart, refuse what does not fit, and serve readers while they grow?"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.resident import mapped_kib
from sealpress.config import LOGS_MAX
from sealpress.core import merkle
from sealpress.core.merkle import Tree
from sealpress.core.reference import ReferenceTree
from sealpress.errors import CoreError

SIZE = 5000
LEAVES = [hashlib.sha256(b"stored %d" % i).digest() for i in range(SIZE)]
ARENA = b"".join(LEAVES)
REFERENCE = ReferenceTree(LEAVES)


def stored(directory: Path, size: int) -> None:
    """Leaves the first `size` leaves in `directory`, synced."""
    tree = Tree(directory)
    tree.append(ARENA[: 32 * size])
    tree.sync()
    tree.close()


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 1025, 4097, SIZE])
def test_adopt_what_was_stored(tmp_path: Path, size: int) -> None:
    """After a restart the levels hold what they held: any earlier size can be adopted, and appending goes on."""
    stored(tmp_path / "tree", size)
    for adopted in sorted({1, size // 2 or 1, size}):
        tree = Tree(tmp_path / "tree")
        assert tree.size == 0
        tree.adopt(adopted, REFERENCE.root(adopted))
        assert (tree.size, tree.root()) == (adopted, REFERENCE.root(adopted))
        tree.append(ARENA[32 * adopted :])
        assert tree.root() == REFERENCE.root(SIZE)
        assert tree.inclusion(0, SIZE) == REFERENCE.inclusion(0, SIZE)
        assert tree.consistency(adopted, SIZE) == REFERENCE.consistency(adopted, SIZE)
        tree.close()


def test_what_was_let_go_of_is_read_from_the_disk(tmp_path: Path) -> None:
    """Nodes whose memory was given back are the same, growing goes on, and leaves that are not there are refused."""
    for directory in (tmp_path / "tree", None):
        tree = Tree(directory)
        tree.append(ARENA[: 32 * 4097])
        tree.sync()
        tree.cool(0, 4097)
        assert tree.nodes(0, 0, 4097) == ARENA[: 32 * 4097]
        tree.append(ARENA[32 * 4097 :])
        assert tree.root() == REFERENCE.root(SIZE)
        with pytest.raises(CoreError):
            tree.cool(0, SIZE + 1)
        tree.close()


def test_memory_does_not_grow_with_the_tree(tmp_path: Path) -> None:
    """Nodes leave the memory of the process as the right edge moves on, but for those near it; none is lost."""
    directory, hashes, held = tmp_path / "tree", random.Random(7).randbytes(32 * 150_000), []
    tree = Tree(directory)
    for first in range(0, 150_000, 1_000):
        tree.append(hashes[32 * first : 32 * (first + 1_000)])
        for index in range(first, first + 1_000, 100):
            tree.inclusion(index, tree.size)
        if first % 8_000 == 0:
            held.append(mapped_kib(directory))
    assert sum(path.stat().st_size for path in directory.iterdir()) > 8 << 20
    assert 1 << 10 < min(held[5:]) <= max(held) < 5 << 10
    assert hashes == b"".join(tree.nodes(0, first, 1_000) for first in range(0, 150_000, 1_000))
    tree.close()


@pytest.mark.parametrize("hole", [False, True], ids=["whole", "with a hole"])
def test_a_full_disk_that_refuses_what_is_there_is_no_reason_to_make_the_tree_again(tmp_path: Path, hole: bool) -> None:
    """XFS wants free blocks for an allocation that needs none. A hole in a level is SP_E_FULL, and so is more room."""
    stored(tmp_path / "tree", 1000)
    if hole:
        os.truncate(tmp_path / "tree/level-00", 32_000)
        os.truncate(tmp_path / "tree/level-00", 8 << 20)
    source = "int posix_fallocate(int file, long at, long size) { (void)file; (void)at; (void)size; return 28; }"
    program = f"""
from pathlib import Path
from sealpress.core.merkle import Tree
from sealpress.errors import CoreError
def answer(call, *arguments):
    try: call(*arguments)
    except CoreError as error: return error.name
    return "SP_OK"
tree = Tree(Path({str(tmp_path / "tree")!r}))
print(answer(tree.adopt, 1000, {REFERENCE.root(1000)!r}), answer(tree.reserve, 1 << 20))
"""
    library = str(tmp_path / "refuses.so")
    subprocess.run(["cc", "-xc", "-", "-shared", "-fPIC", "-o", library], input=source, text=True, check=True)
    before = os.environ.get("LD_PRELOAD", "")
    environment = {**os.environ, "LD_PRELOAD": f"{before}:{library}".strip(":")}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stdout.split() == ["SP_E_FULL" if hole else "SP_OK", "SP_E_FULL"]


def test_a_wrong_root_leaves_it_empty(tmp_path: Path) -> None:
    """Another root, more leaves than there are, a missing or a cut level: SP_E_MISMATCH, size 0, and still usable."""
    root = REFERENCE.root(1000)
    damages: dict[str, Callable[[Path], object]] = {
        "root": lambda directory: None,
        "leaf": lambda directory: poke(directory / "level-03", 32 * 124, b"x"),
        "cut": lambda directory: os.truncate(directory / "level-00", 4096),
        "ragged": lambda directory: os.truncate(directory / "level-00", 31_999),
        "missing": lambda directory: (directory / "level-05").unlink(),
        "size": lambda directory: None,
    }
    for name, damage in damages.items():
        directory = tmp_path / name
        stored(directory, 1000)
        damage(directory)
        tree = Tree(directory)
        with pytest.raises(CoreError) as caught:
            tree.adopt(1 << 30 if name == "size" else 1000, bytes(32) if name == "root" else root)
        assert (name, caught.value.name, tree.size) == (name, "SP_E_MISMATCH", 0)
        tree.append(ARENA[: 32 * 1000])
        assert tree.root() == root
        tree.sync()
        tree.close()
        again = Tree(directory)
        again.adopt(1000, root)
        again.close()


def poke(path: Path, at: int, data: bytes) -> None:
    """Writes over a place of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_the_empty_tree(tmp_path: Path) -> None:
    """Size 0 can be adopted with the empty root only, and a tree in memory has nothing to adopt."""
    for tree in (Tree(), Tree(tmp_path / "tree")):
        tree.adopt(0, merkle.EMPTY_ROOT)
        with pytest.raises(CoreError) as caught:
            tree.adopt(0, bytes(32))
        assert caught.value.name == "SP_E_MISMATCH"
    with pytest.raises(CoreError):
        Tree().adopt(1, LEAVES[0])


def test_adopt_only_into_an_empty_tree(tmp_path: Path) -> None:
    """A tree that holds leaves is not replaced."""
    stored(tmp_path / "tree", 10)
    tree = Tree(tmp_path / "tree")
    tree.append(LEAVES[0])
    with pytest.raises(CoreError) as caught:
        tree.adopt(10, REFERENCE.root(10))
    assert (caught.value.name, tree.size) == ("SP_E_ARGUMENT", 1)


def test_levels_grow_in_steps_of_zeros(tmp_path: Path) -> None:
    """Disk is taken in steps before it is used, filled with blocks, and a level exists once it has a node."""
    tree = Tree(tmp_path)
    tree.append(LEAVES[0])
    assert [path.name for path in tmp_path.iterdir()] == ["level-00"]
    assert (tmp_path / "level-00").stat().st_size == 8 << 20
    assert (tmp_path / "level-00").stat().st_blocks * 512 >= 8 << 20
    tree.reserve(3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["level-00", "level-01", "level-02"]
    tree.append(bytes(32) * (1 << 18))
    assert (tmp_path / "level-00").stat().st_size == 16 << 20
    assert (tmp_path / "level-01").stat().st_size == 4 << 20


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    """A missing parent or a file in the way is SP_E_SYSTEM with its errno, at open or at the first leaf."""
    with pytest.raises(CoreError) as caught:
        Tree(tmp_path / "none" / "tree")
    assert caught.value.name == "SP_E_SYSTEM"
    (tmp_path / "file").write_bytes(b"")
    tree = Tree(tmp_path / "file")
    with pytest.raises(CoreError) as caught:
        tree.append(LEAVES[0])
    assert (caught.value.name, tree.size) == ("SP_E_SYSTEM", 0)


@pytest.mark.parametrize("in_files", [False, True], ids=["memory", "files"])
def test_readers_beside_an_appender(tmp_path: Path, in_files: bool) -> None:
    """While one thread appends, others read proofs of published sizes, and each of them verifies."""
    # Half a million leaves, so that every level is grown and mapped anew while it is read.
    tree, block, failures = Tree(tmp_path if in_files else None), os.urandom(32 * 997), list[str]()
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            size = tree.size
            if size < last:
                failures.append("the size shrank")
            if size == 0:
                continue
            root, index = tree.root(size), size * 7 // 11
            leaf = block[32 * (index % 997) : 32 * (index % 997 + 1)]
            if not merkle.verify_inclusion(leaf, index, size, tree.inclusion(index, size), root):
                failures.append(f"inclusion {index} {size}")
            if last and not merkle.verify_consistency(last, size, tree.root(last), root, tree.consistency(last, size)):
                failures.append(f"consistency {last} {size}")
            last = size

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(530):
        tree.append(block)
    done.set()
    for reader in readers:
        reader.join()

    assert failures == []
    assert tree.root() == merkle.merkle_root(block * 530)
    tree.close()


def test_a_process_has_addresses_for_the_logs_of_a_node(tmp_path: Path) -> None:
    """Each log reserves what its tree may grow into: LOGS_MAX of them take half of what there is."""

    def reserved() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    before = reserved()
    with contextlib.closing(Tree(tmp_path / "tree")) as tree:
        tree.append(ARENA)
        each = reserved() - before  # all but the levels above its root, which are small
    assert LOGS_MAX * each <= (1 << 47) // 2
