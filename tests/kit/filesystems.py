"""Real file systems for tests: small ones, and one on a disk that fails when it is told to. They need root.

    make_image(image, 64)
    with mounted(image, place): ...               ext4 on a loop device
    with failing(image, place) as disk:           the same, but the loop is on nbdfuse on nbdkit's error filter
        disk.fail(); ...                          every write to the disk answers EIO from now on

Guarantees: when a block ends everything is unmounted and every process has ended. Does not: need device-mapper.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

MIB = 1 << 20
WAIT_S = 10.0


def run(*command: str | Path) -> str:
    """What it says on stdout; an AssertionError with its stderr if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@contextmanager
def tmpfs(place: Path, mib: int) -> Iterator[Path]:
    """A file system in memory, mounted on `place`."""
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place)
    try:
        yield place
    finally:
        _unmount(place)


@contextmanager
def ext4(place: Path, mib: int) -> Iterator[Path]:
    """An ext4 in a file beside `place`, mounted there."""
    image = place.with_suffix(".img")
    make_image(image, mib)
    with mounted(image, place):
        yield place


def make_image(image: Path, mib: int) -> None:
    """A file with an empty ext4."""
    with image.open("wb") as file:
        file.truncate(mib * MIB)
        os.posix_fallocate(file.fileno(), 0, mib * MIB)
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", image)


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """What stands on a disk, after ext4's journal was played: as after a power cut."""
    with _looped(image) as device, _mounted(device, place):
        yield place


class Failing:
    """A mounted ext4 whose disk fails on order."""

    def __init__(self, image: Path, switch: Path) -> None:
        """Made by `failing`."""
        self._image = image
        self._switch = switch

    def fail(self) -> None:
        """From now on."""
        self._switch.touch()

    def heal(self) -> None:
        """No more; what was lost stays lost."""
        self._switch.unlink(missing_ok=True)

    def copy(self, target: Path) -> None:
        """What has reached the disk at this moment."""
        shutil.copyfile(self._image, target)


@contextmanager
def failing(image: Path, place: Path) -> Iterator[Failing]:
    """The ext4 of `image` on a disk with a switch."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sp-", dir="/tmp")))
        socket, switch, file = (folder / name for name in ("socket", "fail", "disk"))
        disk = Failing(image, switch)
        server = ["nbdkit", "-f", "-U", socket, "--filter=error", "file", image, f"error-file={switch}"]
        server += [f"error-{operation}{what}" for operation in ("pwrite", "zero", "trim")
                   for what in ("=EIO", "-rate=100%")]  # fmt: skip
        stack.enter_context(_process(*server))
        _until(socket.exists)
        file.touch()
        bridge = stack.enter_context(_process("nbdfuse", file, "--unix", socket))
        _until(lambda: bridge.poll() is not None or file.stat().st_size == image.stat().st_size)
        assert bridge.poll() is None
        stack.callback(disk.heal)
        device = stack.enter_context(_looped(file))
        # The loop driver takes a write for done that FUSE did in part (kernel 6.18): let no request be split.
        Path(f"/sys/block/{Path(device).name}/queue/max_sectors_kb").write_text("128")
        stack.enter_context(_mounted(device, place))
        stack.callback(disk.heal)  # else nothing could be unmounted
        yield disk


@contextmanager
def _looped(file: Path) -> Iterator[str]:
    device = run("losetup", "-f", "--show", file)
    try:
        yield device
    finally:
        run("losetup", "-d", device)


@contextmanager
def _mounted(device: str, place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    run("mount", device, place)
    try:
        yield
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    try:
        _until(lambda: subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0)
    except AssertionError:  # a test has failed and left somebody there: its own message is what counts
        run("umount", "-l", place)


@contextmanager
def _process(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(done: Callable[[], bool]) -> None:
    """Ask again and again, for WAIT_S at most."""
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
