"""How long does `sealpress sign` take over many files, from its start to the last proof on disk, beside hashing alone?

The baselines hash only: `sha256sum` and `openssl dgst` in as many processes as there are cores. Files are warm in the
page cache; proofs go to a new directory in each turn. And one large file: what it costs, and in how much memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.run import Target
from kit.node import PROOF, Node
from sealpress.values import DigestAlgorithm
from sealpress.verify.policy import load_policy
from sealpress.verify.proof import verify_proof

if TYPE_CHECKING:
    from bench.harness import Ratios

MIB, GIB = 1 << 20, 1 << 30
CORES = len(os.sched_getaffinity(0))
FILES_PER_PROCESS = 50
TIMES_SHA256SUM = 3.0
RESIDENT_MAX = 200 * MIB
# A process's peak begins with that of the one it was started from: so from a small one, not from this.
RESIDENT = """
import os, sys
_, status, used = os.wait4(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)
open(sys.argv[1], "w").write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Signing:
    """`sealpress sign` against a node of its own."""

    def __init__(self, node: Node) -> None:
        """Answers go beside the node's files."""
        self._client = node.directory / "client.toml"
        self._place = node.place / "answers"
        self._place.mkdir()
        # ext4 does not give out an inode again for minutes, and looks at each of those that other runs have freed: two
        # seconds for 2,000 files. So each turn has a group of inodes of its own, chosen by its directory's name.
        with contextlib.suppress(FileNotFoundError):  # where there is no ext4, there may be no chattr
            subprocess.run(["chattr", "+T", str(self._place)], stderr=subprocess.DEVNULL, check=False)

    def sign(self, source: Path, *before: str) -> Path:
        """The whole command over a file or directory, `before` in front of it; where the answers are."""
        output = self._place / secrets.token_hex(8)
        arguments = ["sign", "--client", str(self._client), "--key", PROOF, "--output", str(output), str(source)]
        subprocess.run([*before, sys.executable, "-m", "sealpress", *arguments], stdout=subprocess.DEVNULL, check=True)
        return output

    def resident(self, source: Path, report: Path) -> tuple[Path, int]:
        """The same, and the largest resident memory in bytes."""
        answers = self.sign(source, sys.executable, "-S", "-c", RESIDENT, str(report))
        return answers, int(report.read_text()) << 10


@pytest.fixture(scope="module")
def signing() -> Iterator[tuple[Signing, Node]]:
    """The command, and the node that it asks."""
    with Node() as node:
        yield Signing(node), node


@pytest.fixture(scope="module")
def many(signing: tuple[Signing, Node], tiny: bool) -> Path:
    """A directory of files of 1 MiB, each with a content of its own; it goes with the node."""
    place, number = signing[1].place / "many", 32 if tiny else 2_000
    place.mkdir()
    noise = os.urandom(MIB + number)
    for shift in range(number):
        (place / f"{shift:04}").write_bytes(noise[shift : shift + MIB])
    os.sync()  # or the disk takes them in while the first turns run
    return place


def hashed_by(command: str, source: Path) -> None:
    """Processes on all cores hash; what they say goes nowhere: on one pipe they cut each other's lines."""
    each = f"xargs -0 -P {CORES} -n {FILES_PER_PROCESS} {command}"
    subprocess.run(["/bin/sh", "-c", f"find '{source}' -type f -print0 | {each} >/dev/null"], check=True)


def check(node: Node, answers: Path, sources: list[Path]) -> None:
    """Each file has a proof that verifies with hashlib's digest of it."""
    policy = load_policy(node.trust_file())
    for path in sources:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        proof = (answers / f"{str(path)[1:]}.tlog-proof").read_bytes()
        verify_proof(policy, DigestAlgorithm.SHA256, digest, proof)


def test_many_files(ratio: Ratios, tiny: bool, signing: tuple[Signing, Node], many: Path) -> None:
    """2,000 files of 1 MiB, hashed, signed and their proofs written: at least 3 times as quick as `sha256sum`."""
    command, node = signing
    sources = list(many.iterdir())
    total = sum(path.stat().st_size for path in sources)
    check(node, command.sign(many), sources)

    promises = {"sha256sum": Target(ratio_min=TIMES_SHA256SUM), "openssl dgst -sha256 -r": None}
    for baseline, target in promises.items():
        ratio.race(
            f"sealpress sign, {len(sources):,} files of 1 MiB",
            "GB/s",
            amount=total / 1e9,
            product=lambda: command.sign(many),
            baseline=lambda baseline=baseline: hashed_by(baseline, many),  # type: ignore[misc]
            baseline_name=f"{baseline}, xargs -P {CORES}",
            target=target,
        )


def test_one_large_file(ratio: Ratios, tiny: bool, signing: tuple[Signing, Node], tmp_path: Path) -> None:
    """8 GiB in one file: resident memory of at most 200 MiB; its rate beside that of `openssl dgst`."""
    command, node = signing
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(64 * MIB if tiny else 8 * GIB)
    size = source.stat().st_size
    answers, resident = command.resident(source, tmp_path / "resident")
    check(node, answers, [source])

    name = f"sealpress sign, one file of {size // MIB:,} MiB"
    bound = RESIDENT_MAX / MIB
    ratio.row(f"{name}: resident memory", resident / MIB, "MiB", "bound", bound, target=Target(ratio_max=1))
    ratio.race(
        name,
        "GB/s",
        amount=size / 1e9,
        product=lambda: command.sign(source),
        baseline=lambda: hashed_by("openssl dgst -sha256 -r", source),
        baseline_name="openssl dgst -sha256 -r",
    )
