"""`sealpress demo`: the whole product in under a minute, on real files, with the commands that one could type.

Guarantees: every command shown is run as shown, against real processes and a real (software) token; nothing is left
behind. Does not: need arguments, the network or rights.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import typer

from sealpress.cli.output import REFUSED, reporting, say
from sealpress.client import AsyncClient, load_client
from sealpress.core.digests import digest_file
from sealpress.errors import CannotStart, Invalid
from sealpress.values import DigestAlgorithm
from sealpress.wiring import dev as wiring
from sealpress.wiring.pair import Pair

FILES = 600
TOGETHER = 64
PROOF = wiring.PREFIX + "proof-ed25519"
DIRECT = wiring.PREFIX + "direct-p256"
SHOWN_LINES = 12


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo() -> None:
    """Start everything in a temporary directory, sign real files, verify, tamper, explain."""
    with reporting(as_json=False), tempfile.TemporaryDirectory(prefix="sealpress-demo-") as place:
        _Demo(Path(place)).run()


class _Demo:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.node = place / "node"

    def run(self) -> None:
        began = wiring.monotonic_ns()
        _title("A development node: token, CA, keys, policy, then signer and daemon as two processes")
        wiring.provision(self.node, "127.0.0.1:0")
        with (self.place / "node.log").open("wb") as words, self._pair(words) as pair:
            wiring.write_clients(self.node, pair.ready)
            say(f"  in {self.node}, listening on {pair.ready['signing']}")
            files = self._files()
            self._batch(files)
            asyncio.run(self._one_by_one(files))
            self._tamper(files[0])
            self._stranger(files[0])
            self._direct(files[0])
            self._explain(files[0])
            self._count(pair, len(files))
            _title("Stopping the daemon (it drains), then the signer")
            code = pair.stop()
        say(f"  exit code {code}; the whole demo took {(wiring.monotonic_ns() - began) / 1e9:.1f} s")
        if code:
            raise typer.Exit(code)

    def _pair(self, words: Any) -> Pair:
        try:
            return Pair(self.node, words)
        except CannotStart:
            sys.stderr.write((self.place / "node.log").read_text())
            raise

    def _files(self) -> list[Path]:
        """Real files: the interpreter's standard library, and the built wheel if one lies in ./dist."""
        library = Path(sysconfig.get_paths()["stdlib"])
        found = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
        return sorted(Path.cwd().glob("dist/*.whl"))[:1] + found[:FILES]

    def _shell(self, *command: str, ok: bool = True) -> str:
        """Show and run a command; its output, of which the first lines are shown."""
        say(f"  $ {shlex.join(command)}")
        real = [sys.executable, "-m", "sealpress", *command[1:]] if command[0] == "sealpress" else list(command)
        done = subprocess.run(real, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        _show(output.splitlines())
        if (done.returncode == 0) is not ok:
            raise Invalid(f"`{shlex.join(command)}` ended with exit code {done.returncode}", reason="DEMO")
        return done.stdout

    def _client(self, name: str = "client") -> list[str]:
        return ["--client", str(self.node / f"{name}.toml")]

    def _batch(self, files: Sequence[Path]) -> None:
        _title(f"Sign {len(files)} files as one batch: one log commit, one token operation, a proof for each file")
        listing = self.place / "files.sha256"
        digests = [(digest_file(DigestAlgorithm.SHA256, path)[0], path) for path in files]
        listing.write_text("".join(f"{digest.hex()}  {path}\n" for digest, path in digests))
        proofs = self.place / "batch"
        began = wiring.monotonic_ns()
        self._shell("sealpress", "sign", *self._client(), "--digests-file", str(listing), "--output", str(proofs))
        elapsed = (wiring.monotonic_ns() - began) / 1e9
        say(f"  {len(files) / elapsed:,.0f} files/s, start of the command and proofs on disk included")
        _title("Verify all of them offline, with nothing but the trust policy of the line")
        library = sysconfig.get_paths()["stdlib"]
        trusted = self.place / "sources"
        for path in files[:FILES]:
            target = trusted / path.name if library not in str(path) else trusted / path.relative_to(library)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            proof = proofs / Path(*path.parts[1:])
            shutil.copyfile(proof.with_name(path.name + ".tlog-proof"), target.with_name(path.name + ".tlog-proof"))
        self.sources = trusted
        self._shell("sealpress", "verify", "--trust", str(self._trust()), str(trusted))

    def _trust(self) -> Path:
        return self.node / "trust" / f"{wiring.flat(PROOF)}.policy"

    async def _one_by_one(self, files: Sequence[Path]) -> None:
        _title(f"Sign the same files one by one, {TOGETHER} calls at a time, each with its own proof")
        say("  async with AsyncClient(load_client(path)) as client:")
        say("      signed = await client.sign(digest)")
        gate = asyncio.Semaphore(TOGETHER)
        async with AsyncClient(load_client(self.node / "client.toml")) as client:
            await client.key()

            async def one(path: Path) -> int:
                async with gate:
                    digest, _ = digest_file(DigestAlgorithm.SHA256, path)
                    return (await client.sign(digest)).leaf_index

            began = wiring.monotonic_ns()
            leaves = await asyncio.gather(*(one(path) for path in files))
            elapsed = (wiring.monotonic_ns() - began) / 1e9
        say(f"  {len(set(leaves))} leaves; {len(files) / elapsed:,.0f} signatures/s, each durable and checked")

    def _tamper(self, path: Path) -> None:
        _title("Flip one byte of one file: its proof no longer fits")
        victim = self.place / path.name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
        proof = next(self.sources.rglob(path.name + ".tlog-proof"))
        shutil.copyfile(proof, victim.with_name(victim.name + ".tlog-proof"))
        self._shell("sealpress", "verify", "--trust", str(self._trust()), str(victim), ok=False)

    def _stranger(self, path: Path) -> None:
        _title("Ask for a line without having a right to it: refused, and recorded")
        command = ("sealpress", "sign", *self._client("stranger"), "--key", PROOF, "--json", str(path))
        answer = msgspec.json.decode(self._shell(*command, ok=False).splitlines()[0])
        event_id = answer["error"].get("event_id", "")
        if not event_id:
            raise Invalid("the refusal names no recorded event", reason="DEMO")
        self._shell("sealpress", "log", "explain", *self._client(), event_id)

    def _direct(self, path: Path) -> None:
        _title("Direct mode, for consumers that cannot check proofs: a raw signature, checked by openssl")
        out = self.place / "direct"
        self._shell("sealpress", "sign", *self._client(), "--key", DIRECT, "--output", str(out), str(path))
        signature = next(out.rglob(path.name + ".sig"))
        key = self.node / "keys" / f"{wiring.flat(DIRECT)}.pem"
        self._shell("openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(signature), str(path))

    def _explain(self, path: Path) -> None:
        _title("Explain one digest: who asked, when, under which policy and rule, and what became of it")
        digest, _ = digest_file(DigestAlgorithm.SHA256, path)
        self._shell("sealpress", "log", "explain", *self._client(), f"sha256:{digest.hex()}")

    def _count(self, pair: Pair, files: int) -> None:
        _title("What it cost")
        operations = 0.0
        with suppress(OSError), urllib.request.urlopen(f"http://{pair.ready['http']}/metrics", timeout=5) as page:
            for line in page.read().decode().splitlines():
                if line.startswith("sealpress_token_seconds_count"):
                    operations += float(line.rpartition(" ")[2])
        say(f"  {2 * files + 1} signatures for {operations:.0f} token operations")
        if not 0 < operations < 2 * files:
            sys.stderr.write("sealpress: DEMO: the number of token operations is not what it should be\n")
            raise typer.Exit(REFUSED)


def _title(text: str) -> None:
    say(f"\n{text}")


def _show(lines: Sequence[str]) -> None:
    for line in lines[:SHOWN_LINES]:
        say(f"  | {line}")
    if len(lines) > SHOWN_LINES:
        say(f"  | … {len(lines) - SHOWN_LINES - 1} more lines")
        say(f"  | {lines[-1]}")
