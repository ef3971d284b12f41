"""Stock OpenSSH as a judge, and as a maker of keys and signatures: `ssh-keygen` of the machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path


def keygen(*arguments: str | Path, message: bytes = b"", env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code and all that it said."""
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "DISPLAY": "", **(env or {})}
    command = ["ssh-keygen", *map(str, arguments)]
    done = subprocess.run(command, input=message, capture_output=True, env=environment, check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def fingerprint(line: str) -> str:
    """What `ssh-keygen -l` prints for a public key."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "key.pub")
        path.write_text(line + "\n")
        return keygen("-lf", path)[1].split()[1]


def verifies(line: str, message: bytes, signature: str, namespace: str, principal: str = "someone") -> bool:
    """Does `ssh-keygen -Y verify` accept it, when this key alone is allowed to sign for the namespace?"""
    with tempfile.TemporaryDirectory() as place:
        allowed, file = Path(place, "allowed_signers"), Path(place, "signature")
        allowed.write_text(f'{principal} namespaces="{namespace}" {line}\n')
        file.write_text(signature)
        arguments = ("-Y", "verify", "-f", allowed, "-I", principal, "-n", namespace, "-s", file)
        return keygen(*arguments, message=message)[0] == 0


class KeyFile:
    """A key that `ssh-keygen` made; `provider` is the library that stands for its authenticator."""

    def __init__(self, directory: Path, type_: str, *options: str, provider: Path | None = None) -> None:
        """Fails with ssh-keygen's words."""
        self.path = directory / f"key-{len(list(directory.iterdir()))}"
        self.env = {"SSH_SK_PROVIDER": str(provider)} if provider else {}
        code, said = keygen("-q", "-t", type_, "-N", "", "-C", "", "-f", self.path, *options, env=self.env)
        assert code == 0, said
        self.line = self.path.with_suffix(".pub").read_text().strip()

    def sign(self, message: bytes, namespace: str, **env: str) -> str:
        """The signature file of `ssh-keygen -Y sign`."""
        file = self.path.with_suffix(".message")
        file.write_bytes(message)
        signature = self.path.with_suffix(".message.sig")
        signature.unlink(missing_ok=True)
        code, said = keygen("-Y", "sign", "-n", namespace, "-f", self.path, file, env={**self.env, **env})
        assert code == 0, said
        return signature.read_text()
