"""`sealpress verify`: offline; exit 0 only if every file verifies.

Guarantees: with --trust only proofs count, with --public-key only raw signatures; never one for want of the other.
Does not: use the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli import files
from sealpress.cli.output import REFUSED, USAGE, JsonFlag, emit, fail, printable, reporting, say
from sealpress.core.digests import digest_file
from sealpress.errors import ConfigError, Invalid
from sealpress.values import DigestAlgorithm, Format
from sealpress.verify import direct
from sealpress.verify.limits import load_limits
from sealpress.verify.policy import load_policy
from sealpress.verify.proof import verify_proof

ANSWER_BYTES_MAX = 64 << 10

Judge = Callable[[Path, bytes], dict[str, Any]]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or directories with all below.")] = None,
    trust: Annotated[Path | None, typer.Option("--trust", help="C2SP tlog-policy of the line.")] = None,
    limits: Annotated[Path | None, typer.Option("--limits", help="not_after, void, min_security_version.")] = None,
    public_key: Annotated[Path | None, typer.Option("--public-key", help="PEM, for raw signatures.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Where `sign --output` put the answers.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify files against the proofs (or raw signatures) beside them, offline."""
    with reporting(as_json=as_json):
        if (trust is None) == (public_key is None) or (limits is not None and trust is None):
            raise ConfigError("give either --trust POLICY [--limits F] or --public-key PEM", reason="USAGE")
        found = files.meant(paths or [])
        if not found:
            fail(Invalid("no file to verify", reason="NO_FILE", hint="give PATH…"), as_json=as_json, code=USAGE)
        if trust is not None:
            suffix, judge = ".tlog-proof", _proof_judge(trust, limits)
        else:
            assert public_key is not None
            suffix, judge = ".sig", _signature_judge(public_key)
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            results = list(pool.map(lambda path: _one(path, files.answer_path(path, suffix, output), judge), found))
        bad = sum("error" in result for result in results)
        _tell(results, bad, as_json=as_json)
        if bad:
            raise typer.Exit(REFUSED)


def _one(path: Path, answer: Path, judge: Judge) -> dict[str, Any]:
    try:
        try:
            with answer.open("rb") as file:
                text = file.read(ANSWER_BYTES_MAX + 1)
        except OSError as error:
            raise Invalid(f"{answer}: {error.strerror}", reason="NO_ANSWER", hint="sign it first") from None
        return {"path": str(path), **judge(path, text)}
    except Invalid as error:
        return {"path": str(path), "error": {"reason": error.reason, "message": error.message, "hint": error.hint}}


def _digest(path: Path, algorithm: DigestAlgorithm) -> bytes:
    try:
        return digest_file(algorithm, path)[0]
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}", reason="NO_FILE") from None


def _proof_judge(trust: Path, limits_file: Path | None) -> Judge:
    policy = load_policy(trust)
    limits = load_limits(limits_file) if limits_file is not None else None

    def judge(path: Path, text: bytes) -> dict[str, Any]:
        # The opening only says with what to hash; verify_proof compares it with the digest's own algorithm.
        algorithm = _claimed_algorithm(text)
        verified = verify_proof(policy, algorithm, _digest(path, algorithm), text, limits)
        return {
            "line": verified.line,
            "log": verified.origin,
            "leaf_index": verified.index,
            "tree_size": verified.tree_size,
            "leaf_time": verified.leaf_time,
            "sealed_time": verified.sealed_time,
            "security_version": verified.security_version,
        }

    return judge


def _claimed_algorithm(text: bytes) -> DigestAlgorithm:
    from sealpress.core.proof import parse_proof
    from sealpress.errors import CoreError

    try:
        return DigestAlgorithm(parse_proof(text).opening[0])
    except (CoreError, ValueError):
        raise Invalid("the proof is not in its one canonical encoding", reason="ENCODING") from None


def _signature_judge(path: Path) -> Judge:
    public = direct.load_public_key(path)
    algorithm = direct.usual_algorithm(public)
    formats = direct.formats_of(public)
    if not formats:
        raise ConfigError(f"{path}: an Ed25519 key makes no raw signatures here", hint="use --trust for proof lines")

    def judge(file: Path, signature: bytes) -> dict[str, Any]:
        digest = _digest(file, algorithm)
        return {"format": _format(public, formats, algorithm, digest, signature).value}

    return judge


def _format(
    public: Any, formats: tuple[Format, ...], algorithm: DigestAlgorithm, digest: bytes, signature: bytes
) -> Format:
    for format_ in formats[:-1]:
        try:
            direct.verify_direct(public, format_, algorithm, digest, signature)
        except Invalid:
            continue
        return format_
    direct.verify_direct(public, formats[-1], algorithm, digest, signature)
    return formats[-1]


def _tell(results: list[dict[str, Any]], bad: int, *, as_json: bool) -> None:
    if as_json:
        emit({"verified": len(results) - bad, "failed": bad, "files": results})
        return
    for result in results:
        if "error" in result:
            say(f"FAILED  {printable(result['path'])}: {result['error']['reason']}: {result['error']['message']}")
        elif "line" in result:
            sealed = datetime.fromtimestamp(result["sealed_time"], UTC)
            say(f"ok      {printable(result['path'])}: {result['line']} leaf {result['leaf_index']}, {sealed:%FT%TZ}")
        else:
            say(f"ok      {printable(result['path'])}: {result['format']}")
    say(f"{len(results) - bad} verified, {bad} failed")
