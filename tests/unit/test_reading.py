"""Does nobody wait for a file that somebody named, whatever it is?"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kit.clock import VirtualClock
from sealpress.cli.governing import read
from sealpress.client.config import load_client
from sealpress.client.token import TokenFile
from sealpress.config import load
from sealpress.errors import ConfigError, SealpressError
from sealpress.hsm.keytable import read_spki
from sealpress.reading import read_named, read_whole
from sealpress.rpc.jwks import from_file
from sealpress.rpc.tls import TlsFiles, TlsPaths
from sealpress.telemetry import Telemetry
from sealpress.verify.direct import load_public_key
from sealpress.verify.limits import load_limits
from sealpress.verify.policy import load_policy, load_witnesses


def _tls(path: Path) -> object:
    return TlsFiles(TlsPaths(path, path, None), 1, VirtualClock(), Telemetry(VirtualClock()))


def _token(path: Path) -> object:
    return TokenFile(path).metadata()


def _public_key(path: Path) -> object:
    return read_spki("[key.k1]", path)


READERS = [load, load_client, load_witnesses, _tls, _token, _public_key]


@pytest.mark.parametrize("read", READERS)
def test_a_fifo_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    """One that nobody writes into ends a start, or a call, with its name, and holds up neither."""
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(SealpressError, match="fifo: not a regular file"):
        read(tmp_path / "fifo")


def piped(directory: Path, content: bytes) -> Path:
    """A fifo into which somebody writes so much, as a shell's `<(…)` is one."""
    path = directory / "fifo"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


@pytest.mark.parametrize(
    "read", [load_policy, load_limits, load_public_key, read_named, partial(read, what="document")]
)
def test_a_command_reads_what_another_one_writes(read: Callable[[Path], object], tmp_path: Path) -> None:
    """Trust policies, limits, public keys and documents come as well out of a pipe: what is in it is judged."""
    try:
        assert read(piped(tmp_path, b"= no document")) == b"= no document"
    except ConfigError as error:
        assert "not a regular file" not in error.message


def test_a_pipe_without_end_is_refused(tmp_path: Path) -> None:
    """A writer that does not stop is read no further than a file."""
    with pytest.raises(OSError, match="larger than 1000 bytes"):
        read_named(piped(tmp_path, bytes(2_000)), 1_000)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/tty"])
def test_a_device_is_refused(device: str) -> None:
    """An empty policy that nobody wrote is as wrong as one without end."""
    with pytest.raises(OSError, match=r"not a regular file|No such device"):
        read_whole(Path(device))


async def test_a_fifo_for_a_key_set_is_refused(tmp_path: Path) -> None:
    """The thread that reads the keys of a CI does not wait in it for ever."""
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(OSError, match="not a regular file"):
        await from_file(tmp_path / "fifo")()


def test_a_directory_is_told_as_such(tmp_path: Path) -> None:
    """By the system's own words."""
    with pytest.raises(SealpressError, match="Is a directory"):
        load(tmp_path)
