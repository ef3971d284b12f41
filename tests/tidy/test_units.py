"""Are the systemd units what they are said to be: valid, two users, hardened?"""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "daemon" / "systemd"
NAMES = ("sealpress-serve.service", "sealpress-signer.service")
DEMANDED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "MemoryDenyWriteExecute": "yes",
    "LimitCORE": "0",
    "CapabilityBoundingSet": "",
    "RestartPreventExitStatus": "3 4",
    "AmbientCapabilities": "",
    "LockPersonality": "yes",
    "ProtectControlGroups": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
}
# systemd's own measure of what a unit leaves open, in tenths: 100 is a service without any hardening
EXPOSURE_MAX = {"sealpress-serve.service": 15, "sealpress-signer.service": 10}


def service(name: str) -> dict[str, str]:
    """[Service] of a unit; of settings given twice the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(UNITS / name)
    return dict(parser["Service"])


@pytest.mark.parametrize("name", NAMES)
def test_units_are_hardened(name: str) -> None:
    """What a compromised process must not have is taken from both."""
    found = service(name)

    assert {key: found.get(key) for key in DEMANDED} == DEMANDED
    assert "SystemCallFilter" in found


def test_users_differ() -> None:
    """Daemon and signer are different users, and the daemon may reach the signer's socket by a group of its own."""
    serve, signer = (service(name) for name in NAMES)

    assert serve["User"] != signer["User"]
    assert serve["SupplementaryGroups"] == signer["Group"]


def test_memory_ends_the_daemon_first() -> None:
    """Messages that fill the memory end `serve`, which is started again; not the signer or what else runs there."""
    serve, signer = (service(name) for name in NAMES)

    assert serve["MemoryMax"].endswith("%")
    assert serve["Restart"] == "on-failure"
    assert int(signer["OOMScoreAdjust"]) < 0


def test_the_signer_has_no_network_and_sees_users() -> None:
    """No network; and no user namespace, in which every peer of its socket would be `nobody`."""
    signer = service("sealpress-signer.service")

    assert (signer["PrivateNetwork"], signer["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")
    assert signer["PrivateUsers"] == "no"


def test_serve_is_not_started_before_the_signer_listens(tmp_path: Path) -> None:
    """A token that takes its time at boot: `serve` would end with 4, after which nobody starts it again."""
    dash, _, words = service("sealpress-signer.service")["ExecStartPost"].partition("/bin/sh -c ")
    command = shlex.split(words)[0].replace("$$", "$")
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
    with subprocess.Popen(["/bin/sh", "-c", command], env=environment) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        with socket.socket(socket.AF_UNIX) as signer:
            signer.bind(str(tmp_path / "signer.sock"))

            assert (0, "-") == (waiting.wait(5), dash)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_understands_them(name: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze here")
    for unit in NAMES:
        text = (UNITS / unit).read_text().replace("/usr/bin/sealpress", "/bin/true")
        (tmp_path / unit).write_text(text)
    done = subprocess.run([tool, "verify", tmp_path / name], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_little_left_open(name: str) -> None:
    """`systemd-analyze security`: serve leaves the network open, the signer not even that."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze here")
    command = [tool, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX[name]}", UNITS / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "--threshold" in done.stderr or "offline" in done.stderr:
        pytest.skip("this systemd-analyze looks at running units only")

    assert done.returncode == 0, done.stdout
