"""Are the digests of many files those of their bytes, whatever their number and size, and what befalls them?"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealpress.core import digests
from sealpress.core.files import CHANGED, NO_FILE, FileDigests
from sealpress.errors import CoreError
from sealpress.values import DigestAlgorithm

KIB, MIB = 1 << 10, 1 << 20
TEXT = bytes(range(251)) * 20_000  # 5 MB
LARGE_BYTES = int(os.environ.get("SEALPRESS_LARGE_FILE_BYTES", 512 * MIB))
RESIDENT_MAX = 200 * MIB
# around a block, around a piece for every number of lanes, and what ends in none of them
SIZES = (
    0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 256 * KIB - 1,
    256 * KIB, 256 * KIB + 1, MIB - 17, MIB, 2 * MIB + 5, 4 * MIB + 3,
)  # fmt: skip


def all_of(running: FileDigests, count: int) -> list[tuple[bytes, int] | int]:
    """Digest and size, or the error, of each."""
    with running:
        assert running.finished(60)
        return [running.error(place) or (running.digest(place), running.size(place)) for place in range(count)]


def expected(algorithm: DigestAlgorithm, paths: list[Path]) -> list[tuple[bytes, int] | int]:
    """By hashlib."""
    contents = [path.read_bytes() for path in paths]
    return [(hashlib.new(algorithm.label, content).digest(), len(content)) for content in contents]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of every size that is special."""
    place = tmp_path_factory.mktemp("many")
    paths = [place / f"{number}-{size}" for number, size in enumerate(SIZES)]
    for number, (path, size) in enumerate(zip(paths, SIZES, strict=True)):
        path.write_bytes(TEXT[number : number + size])
    return paths


@pytest.mark.parametrize("mask", [0xFFFFFFFF, 0x7, 0x3, 0])
@pytest.mark.parametrize("algorithm", DigestAlgorithm, ids=lambda algorithm: algorithm.label)
def test_agrees_with_hashlib(many: list[Path], algorithm: DigestAlgorithm, mask: int) -> None:
    """Every size, kernel and number of threads gives hashlib's digest and the file's size."""
    before = digests.set_cpu_mask(mask)
    try:
        for workers, paths in ((1, many), (2, many * 3), (3, many[-1:]), (2, many[-2:]), (4, many[::-1])):
            running = FileDigests(algorithm, paths, workers)
            assert all_of(running, len(paths)) == expected(algorithm, paths)
    finally:
        digests.set_cpu_mask(before)


def test_no_file_at_all() -> None:
    """Nothing to hash is finished at once."""
    assert all_of(FileDigests(1, []), 0) == []


def test_what_cannot_be_hashed_spoils_nothing_else(many: list[Path], tmp_path: Path) -> None:
    """Each file has its own error; a fifo is refused, not waited for; the others have their digests."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "\udcff name\n").write_bytes(b"odd")
    odd = [tmp_path / "missing", tmp_path, tmp_path / "fifo", Path("/dev/null"), tmp_path / "\udcff name\n"]
    mixed = [path for pair in zip(many, odd * 5, strict=False) for path in pair]

    found = all_of(FileDigests(1, mixed, 2), len(mixed))

    assert found[::2] == expected(DigestAlgorithm.SHA256, many)
    assert found[1:10:2] == [
        errno.ENOENT, errno.EISDIR, errno.ENOTSUP, errno.ENOTSUP, (hashlib.sha256(b"odd").digest(), 3),
    ]  # fmt: skip
    assert {errno.EISDIR, errno.ENOTSUP} == set(NO_FILE)


@pytest.mark.parametrize("how", ["grows", "shrinks", "is written to", "is written to and dated back"])
def test_a_file_that_changes_meanwhile_has_no_digest(tmp_path: Path, how: str) -> None:
    """Truncated, grown or overwritten while it is read: CHANGED for that file, and the process lives."""
    path, size = tmp_path / "file", 256 * MIB
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, (0, 0))  # so that the clock's tick does not hide the change
    running = FileDigests(1, [path], 2)
    while running.wait(1, 0)[1] == 0:
        pass
    with path.open("r+b") as file:
        if how.startswith("is written to"):
            file.write(b"x")
        else:
            file.truncate(size + 1 if how == "grows" else MIB)
    if how.endswith("dated back"):
        os.utime(path, (0, 0))

    assert all_of(running, 1) == [CHANGED]


def test_stopped_in_the_middle(tmp_path: Path) -> None:
    """Leaving early ends the threads at once; what was not read to its end has no digest."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with FileDigests(1, [path] * 40, 2) as running:
        while running.wait(40, 0.01)[1] == 0:
            pass

    assert running.error(0) == errno.ECANCELED


def test_progress_only_grows(many: list[Path]) -> None:
    """Finished files and bytes are told while threads work, and never shrink."""
    seen = [(0, 0)]
    with FileDigests(1, many * 20, 2) as running:
        while seen[-1][0] < len(many) * 20:
            seen.append(running.wait(seen[-1][0] + 1, 1))

    assert seen == sorted(seen)
    assert [size for _, size in seen] == sorted(size for _, size in seen)


def test_unknown_algorithm(many: list[Path]) -> None:
    """An algorithm that does not exist is refused, by name."""
    with pytest.raises(CoreError) as caught:
        FileDigests(4, many)

    assert caught.value.name == "SP_E_ALGORITHM"


PROGRAM = """
import re, sys
from sealpress.core.files import FileDigests
with FileDigests(1, sys.argv[1:]) as running:
    while running.wait(1, 1)[0] == 0:
        pass
    # of this program alone: ru_maxrss begins with what the process held that started it
    resident = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
    print(running.digest(0).hex(), running.size(0), resident)
"""


def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    """A file larger than the bound is hashed within 200 MiB; SEALPRESS_LARGE_FILE_BYTES for a larger one."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    digest, size, resident = done.stdout.split()
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest

    assert int(size) == LARGE_BYTES
    assert int(resident) * KIB < RESIDENT_MAX


MANY = """
import os, resource, sys
from sealpress.core.files import FileDigests
os.sched_getaffinity = lambda _: range(100)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
parts = [FileDigests(1, sys.argv[1:]) for _ in range(2)]
for part in parts:
    while not part.finished(1):
        pass
print({part.error(place) for part in parts for place in range(len(sys.argv) - 1)})
"""


def test_many_processors_do_not_open_more_than_may_be_open(tmp_path: Path) -> None:
    """A large machine with the usual limit of descriptors: each file has its digest, also two parts at once."""
    paths = [tmp_path / f"{number}" for number in range(1_000)]
    for path in paths:
        with path.open("wb") as file:
            file.truncate(2 * MIB)
    done = subprocess.run(
        [sys.executable, "-c", MANY, *map(str, paths)], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout == "{0}\n"
