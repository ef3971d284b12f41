"""`sealpress verify`: offline; exit 0 only if every file verifies.

Guarantees: with --trust only proofs count, with --public-key only raw signatures; never one for want of the other.
Does not: use the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sealpress.cli import answers, files
from sealpress.cli.files import TICK_S
from sealpress.cli.output import (
    REFUSED,
    USAGE,
    JsonFlag,
    Paths,
    emit,
    fail,
    moment,
    named_path,
    printable,
    reporting,
    say,
)
from sealpress.core.files import FileDigests
from sealpress.errors import ConfigError, Invalid
from sealpress.values import DigestAlgorithm, Format
from sealpress.verify import direct
from sealpress.verify.limits import load_limits
from sealpress.verify.policy import load_policy
from sealpress.verify.proof import verify_proof

ANSWER_BYTES_MAX = 64 << 10
PART_FILES = 1_000  # whose answers are in memory at once, twice over


@dataclass(frozen=True, slots=True)
class Judge:
    """What is asked of each file; both raise Invalid."""

    suffix: str
    algorithm: Callable[[bytes], DigestAlgorithm]  # with which the file must be hashed, by its answer
    verdict: Callable[[bytes, DigestAlgorithm, bytes], dict[str, Any]]  # digest, algorithm, answer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    paths: Paths = None,
    trust: Annotated[Path | None, typer.Option("--trust", help="C2SP tlog-policy of the line.")] = None,
    limits: Annotated[Path | None, typer.Option("--limits", help="not_after, void, min_security_version.")] = None,
    public_key: Annotated[Path | None, typer.Option("--public-key", help="PEM, for raw signatures.")] = None,
    algorithm: Annotated[
        str, typer.Option("--algorithm", help="Of the digest that a raw signature is over; as goes with the key.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", help="Where `sign --output` put the answers.", parser=named_path)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify files against the proofs (or raw signatures) beside them, offline."""
    with reporting(as_json=as_json):
        wrong_limits, wrong_algorithm = limits is not None and trust is None, bool(algorithm) and public_key is None
        if (trust is None) == (public_key is None) or wrong_limits or wrong_algorithm:
            raise ConfigError(
                "give either --trust POLICY [--limits F] or --public-key PEM [--algorithm A]", reason="USAGE"
            )
        found = files.meant(paths or [], whole=True)
        if not found:
            fail(Invalid("no file to verify", reason="NO_FILE", hint="give PATH…"), as_json=as_json, code=USAGE)
        if trust is not None:
            judge = _proof_judge(trust, limits)
        else:
            assert public_key is not None
            judge = _signature_judge(public_key, algorithm)
        results = _judged(found, judge, output)
        bad = _tell_whole(list(results)) if as_json else _tell(results)
        if bad:
            raise typer.Exit(REFUSED)


class Part:
    """Some files whose answers are read and which are being hashed."""

    def __init__(self, paths: list[Path], judge: Judge, output: Path | None) -> None:
        """Begins at once."""
        self._paths = paths
        self._judge = judge
        self._answers: list[tuple[DigestAlgorithm, bytes] | Invalid] = [self._answer(path, output) for path in paths]
        self._places: dict[DigestAlgorithm, list[int]] = {}
        for place, answer in enumerate(self._answers):
            if not isinstance(answer, Invalid):
                self._places.setdefault(answer[0], []).append(place)
        self._hashing = {
            algorithm: FileDigests(algorithm, [paths[place] for place in places])
            for algorithm, places in self._places.items()
        }

    def _answer(self, path: Path, output: Path | None) -> tuple[DigestAlgorithm, bytes] | Invalid:
        answer = answers.answer_path(path, self._judge.suffix, output)
        try:
            text = answers.read_answer(answer, ANSWER_BYTES_MAX + 1)
            return self._judge.algorithm(text), text
        except OSError as error:
            if path.is_dir():  # files.meant
                return Invalid("a link to a directory elsewhere, whose files are not verified: give it as a PATH, too",
                               reason="NO_ANSWER")  # fmt: skip
            hint = "sign it, or give the --output of that" if isinstance(error, FileNotFoundError) else ""
            return Invalid(f"{files.told(answer)}: {error.strerror}", reason="NO_ANSWER", hint=hint)
        except Invalid as error:
            return error

    def results(self) -> list[dict[str, Any]]:
        """In the order of the files."""
        digests: dict[int, bytes | Invalid] = {}
        for algorithm, hashing in self._hashing.items():
            while not hashing.finished(TICK_S):
                pass
            for position, place in enumerate(self._places[algorithm]):
                error = hashing.error(position)
                digests[place] = _unhashed(self._paths[place], error) if error else hashing.digest(position)
        return [self._result(place, digests.get(place, b"")) for place in range(len(self._paths))]

    def close(self) -> None:
        """Stop what is still being hashed."""
        for hashing in self._hashing.values():
            hashing.close()

    def _result(self, place: int, digest: bytes | Invalid) -> dict[str, Any]:
        shown, answer = files.told(self._paths[place]), self._answers[place]
        try:
            if isinstance(answer, Invalid):
                raise answer
            if isinstance(digest, Invalid):
                raise digest
            return {"path": shown, **self._judge.verdict(digest, *answer)}
        except Invalid as error:
            return {"path": shown, "error": {"reason": error.reason, "message": error.message, "hint": error.hint}}


def _unhashed(path: Path, error: int) -> Invalid:
    text, reason, hint = files.why_unhashed(error)
    return Invalid(f"{files.told(path)}: {text}", reason="NO_FILE" if reason != "FILE_CHANGED" else reason, hint=hint)


def _judged(found: list[Path], judge: Judge, output: Path | None) -> Iterator[dict[str, Any]]:
    """Each file's result, in order; a part is hashed while the one before it is judged."""
    under_way: list[Part] = []
    try:
        for start in range(0, len(found), PART_FILES):
            under_way.append(Part(found[start : start + PART_FILES], judge, output))
            if len(under_way) > 1:
                yield from under_way[0].results()
                under_way.pop(0).close()
        for part in under_way:
            yield from part.results()
    finally:
        for part in under_way:
            part.close()


def _proof_judge(trust: Path, limits_file: Path | None) -> Judge:
    policy = load_policy(trust)
    limits = load_limits(limits_file) if limits_file is not None else None

    def verdict(digest: bytes, algorithm: DigestAlgorithm, text: bytes) -> dict[str, Any]:
        # The opening only says with what to hash; verify_proof compares it with the digest's own algorithm.
        verified = verify_proof(policy, algorithm, digest, text, limits)
        return {
            "line": verified.line,
            "log": verified.origin,
            "leaf_index": verified.index,
            "tree_size": verified.tree_size,
            "leaf_time": verified.leaf_time,
            "sealed_time": verified.sealed_time,
            "security_version": verified.security_version,
        }

    return Judge(".tlog-proof", _claimed_algorithm, verdict)


def _claimed_algorithm(text: bytes) -> DigestAlgorithm:
    from sealpress.core.proof import parse_proof
    from sealpress.errors import CoreError

    try:
        return DigestAlgorithm(parse_proof(text).opening[0])
    except (CoreError, ValueError):
        raise Invalid("the proof is not in its one canonical encoding", reason="ENCODING") from None


def _signature_judge(path: Path, wanted: str) -> Judge:
    public = direct.load_public_key(path)
    algorithm = DigestAlgorithm.parse(wanted) if wanted else direct.usual_algorithm(public)
    formats = direct.formats_of(public)
    if not formats:
        raise ConfigError(
            f"{path}: an Ed25519 or ML-DSA key makes no raw signatures here", hint="use --trust for proof lines"
        )

    def verdict(digest: bytes, _: DigestAlgorithm, signature: bytes) -> dict[str, Any]:
        return {"format": _format(public, formats, algorithm, digest, signature).value}

    return Judge(".sig", lambda _: algorithm, verdict)


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


def _tell_whole(results: list[dict[str, Any]]) -> int:
    """One document; how many failed."""
    bad = sum("error" in result for result in results)
    emit({"verified": len(results) - bad, "failed": bad, "files": results})
    return bad


def _tell(results: Iterable[dict[str, Any]]) -> int:
    """A line for each as it is judged: of many files nobody waits for the last, and none is remembered."""
    good = bad = 0
    for result in results:
        if "error" in result:
            bad += 1
            error = result["error"]
            why = f"{error['reason']}: {error['message']}" + (f" ({error['hint']})" if error["hint"] else "")
            say(f"FAILED  {printable(result['path'])}: {printable(why)}")
            continue
        good += 1
        if "line" in result:
            sealed = moment(result["sealed_time"], "%FT%TZ")
            say(f"ok      {printable(result['path'])}: {result['line']} leaf {result['leaf_index']}, {sealed}")
        else:
            say(f"ok      {printable(result['path'])}: {result['format']}")
    say(f"{good} verified, {bad} failed")
    return bad
