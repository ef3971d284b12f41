"""`sealpress demo`: the whole product in under a minute, on real files, with the commands that one could type.

Guarantees: every command shown is run as shown, in one temporary directory, against real processes and a real token
(in software); nothing is left behind, however it ends. Does not: need arguments, the network or rights.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sealpress.cli import answers
from sealpress.cli.output import reporting, say
from sealpress.cli.stage import OURS, Stage, interruptible, play, title
from sealpress.client import AsyncClient, load_client
from sealpress.core.digests import digest_file
from sealpress.errors import CannotStart, Invalid
from sealpress.values import DigestAlgorithm
from sealpress.wiring import dev as wiring
from sealpress.wiring.pair import Process

FILES = 600
TOGETHER = 64
PROOF = wiring.PREFIX + "proof-ed25519"
DIRECT = wiring.PREFIX + "direct-p256"
TRUST = f"node/trust/{wiring.flat(PROOF)}.policy"
TOOLS = {"xargs": "findutils", "openssl": "openssl"}
GOVERNANCE_TOOLS = {"ssh-keygen": "openssh-client", "cc": "gcc", "softhsm2-util": "softhsm2"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    governance: Annotated[
        bool, typer.Option("--governance", help="Officers, approvals, a firmware key, a CI: who may sign what.")
    ] = False,
) -> None:
    """Start everything in a temporary directory, sign real files, verify, tamper, explain."""
    interruptible()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a pipe shows it as it happens, too
    with reporting(as_json=False), tempfile.TemporaryDirectory(prefix="sealpress-demo-") as place:
        for tool, package in (GOVERNANCE_TOOLS if governance else TOOLS).items():
            if shutil.which(tool) is None:
                raise CannotStart(f"no {tool} on this machine", reason="TOOL_MISSING", hint=f"Debian: {package}")
        if governance:
            from sealpress.cli.demo_governance import Story

            Story(Path(place)).run()
        else:
            _Demo(Path(place)).run()


class _Demo(Stage):
    def __init__(self, place: Path) -> None:
        super().__init__(place, {**os.environ, "SEALPRESS_CLIENT": "node/client.toml"})
        self.sources = _real_files()

    def run(self) -> None:
        began = wiring.monotonic_ns()
        say(f"Everything happens in {self.place}, which disappears at the end.")
        node = self._start()
        try:
            self._serving(node)
            self._batch()
            play(self._one_by_one())
            self._tamper()
            self._stranger()
            self._direct()
            self._explain()
            self._count()
            title("Stop: the daemon drains, then the signer ends")
            say("  $ kill %1")
        finally:
            code = node.stop()
        say(f"  | exit code {code}")
        if code:
            raise Invalid(f"`sealpress dev` ended with exit code {code}", reason="DEMO")
        self._judge()
        say(f"\nThe whole demo took {(wiring.monotonic_ns() - began) / 1e9:.1f} s.")

    def _start(self) -> Process:
        title("A development node: token, CA, keys and policy; then the signer and the daemon as two processes")
        say(f"  $ cd {self.place}")
        say("  $ sealpress dev --dir node --listen 127.0.0.1:0 &")
        words = self.place / "node.log"
        try:
            with words.open("wb") as stderr:
                arguments = ("dev", "--dir", str(self.place / "node"), "--listen", "127.0.0.1:0")
                node = Process(arguments, stderr=stderr)
        except CannotStart:
            sys.stderr.write(words.read_text(errors="replace"))
            raise
        return node

    def _serving(self, node: Process) -> None:
        say(f"  | serving on {node.ready['signing']}")
        say("  $ export SEALPRESS_CLIENT=node/client.toml")

    def _batch(self) -> None:
        count = len(self.sources)
        title(f"Sign {count} files of this machine as one batch: one append, one token operation, {count} proofs")
        (self.place / "list").write_text("".join(f"{path}\n" for path in self.sources))
        say(f"  list: {self.sources[0]} to {self.sources[-1]}")
        began = wiring.monotonic_ns()
        self.shell("xargs", "-d", r"\n", "-a", "list", "sealpress", "sign", "--output", "batch")
        elapsed = (wiring.monotonic_ns() - began) / 1e9
        say(f"  {count / elapsed:,.0f} files/s, from the start of the command to the last proof on disk")
        self._verify_all("batch")

    def _verify_all(self, answers: str) -> None:
        title("Verify all of them offline; the trust policy of the line is all that it takes")
        command = ("sealpress", "verify", "--trust", TRUST, "--output", answers)
        said = self.shell("xargs", "-d", r"\n", "-a", "list", *command, shown=1)
        if f"{len(self.sources)} verified, 0 failed" not in said:
            raise Invalid("not every file was verified", reason="DEMO")

    async def _one_by_one(self) -> None:
        title(f"Sign the same files one by one, {TOGETHER} calls at a time; each answer is checked as it comes")
        say("  async with AsyncClient(load_client(path)) as client:")
        say("      signed = await client.sign(digest)")
        gate = asyncio.Semaphore(TOGETHER)
        async with AsyncClient(load_client(self.place / "node" / "client.toml")) as client:
            await client.key()

            async def one(path: Path) -> bytes:
                async with gate:
                    return (await client.sign(digest_file(DigestAlgorithm.SHA256, path)[0])).proof

            began = wiring.monotonic_ns()
            proofs = await asyncio.gather(*(one(path) for path in self.sources))
            elapsed = (wiring.monotonic_ns() - began) / 1e9
        say(f"  {len(proofs) / elapsed:,.0f} signatures/s, each durable before it was made")
        for path, proof in zip(self.sources, proofs, strict=True):
            answers.write_whole(answers.answer_path(path, ".tlog-proof", self.place / "single"), proof)
        self._verify_all("single")

    def _tamper(self) -> None:
        title("Flip one bit in a copy of one file: its proof no longer fits")
        source = self.sources[-1]
        content = bytearray(source.read_bytes())
        content[len(content) // 2] ^= 1
        (self.place / source.name).write_bytes(content)
        proof = answers.answer_path(source, ".tlog-proof", self.place / "batch")
        shutil.copyfile(proof, self.place / proof.name)
        self.shell("sealpress", "verify", "--trust", TRUST, source.name, ok=False)

    def _stranger(self) -> None:
        title("Ask for a line without having a right to it: refused, and the refusal is recorded")
        command = ("sealpress", "sign", "--client", "node/stranger.toml", "--key", PROOF, str(self.sources[0]))
        recorded = re.search(r"recorded as (\w+)", self.shell(*command, ok=False))
        if recorded is None:
            raise Invalid("the refusal names no recorded event", reason="DEMO")
        if "NOT_PERMITTED" not in self.shell("sealpress", "log", "explain", recorded[1], shown=8):
            raise Invalid("the refusal is not in the log", reason="DEMO")

    def _direct(self) -> None:
        title("Direct mode, for consumers that cannot check proofs: a raw signature, checked by openssl")
        source = self.sources[0]
        self.shell("sealpress", "sign", "--key", DIRECT, "--output", "direct", str(source))
        signature = answers.answer_path(source, ".sig", Path("direct"))
        key = f"node/keys/{wiring.flat(DIRECT)}.pem"
        self.shell("openssl", "dgst", "-sha256", "-verify", key, "-signature", str(signature), str(source))

    def _explain(self) -> None:
        title("Explain one digest: who asked, when, under which policy and rule, and what became of it")
        digest, _ = digest_file(DigestAlgorithm.SHA256, self.sources[0])
        self.shell("sealpress", "log", "explain", f"sha256:{digest.hex()}", shown=14)

    def _count(self) -> None:
        title("What it cost")
        say("  $ sealpress status --json")
        command = [*OURS, "status", "--json"]
        done = subprocess.run(command, cwd=self.place, env=self.environment, capture_output=True, check=True)
        slots = msgspec.json.decode(done.stdout)["slots"]
        operations = sum(int(slot["operations"]) for slot in slots)
        signatures = 2 * len(self.sources) + 1
        say(f"  {signatures} signatures with {operations} token operations")
        if not 0 < operations < signatures:
            raise Invalid("the number of token operations is not what it should be", reason="DEMO")

    def _judge(self) -> None:
        title("Judge the whole log from its files, with nobody running")
        self.shell("sealpress", "log", "verify", "node/data/ci", "--trust", TRUST)


def _real_files() -> list[Path]:
    """The built wheel if one lies in ./dist, and files of the interpreter's standard library, source files first."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
    if len(found) < FILES:
        rest = (path for path in sorted(library.rglob("*")) if path.suffix not in (".py", ".pyc") and path.is_file())
        found += [path for path in rest if "site-packages" not in path.parts]
    chosen = [path for path in found if path.stat().st_size][:FILES]
    return sorted(Path.cwd().glob("dist/*.whl"))[:1] + chosen
