"""The load generator on the command line: `python -m bench.load --client D/client.toml --rate 1000`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import msgspec

from bench.load.plan import Plan, Result
from bench.load.run import run
from sealpress.client import load_client
from sealpress.errors import SealpressError


def main(arguments: list[str] | None = None) -> int:
    """0: it ran; 1: the node cannot be reached; 2: the arguments are wrong."""
    options = vars(_parser().parse_args(arguments))
    as_json = options.pop("json")
    try:
        config = load_client(Path(options["client"]))
        options["line"] = options["line"] or config.line
        plan = msgspec.convert({name.replace("-", "_"): value for name, value in options.items()}, Plan)
    except (SealpressError, msgspec.ValidationError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        result = run(plan)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result.summary()) if as_json else _text(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="Ask a running node for signatures.")
    add = parser.add_argument
    add("--client", required=True, metavar="FILE", help="client.toml of the node")
    add("--address", default="", help="host:port instead of the file's")
    add("--line", default="", help="key line; default: the file's")
    add("--kind", choices=("unary", "stream", "batch"), default="unary", help="Sign, SignStream or SignBatch")
    add("--items", type=int, default=1, help="digests of one SignBatch")
    add("--rate", type=float, default=0.0, help="calls a second, arriving at random; 0: closed loop (default)")
    add("--in-flight", type=int, default=64, help="calls under way at most; of a closed loop: always")
    add("--connections", type=int, default=1, help="TLS connections")
    add("--processes", type=int, default=1, help="client processes; one sends some 3,000 calls a second")
    add("--seconds", type=float, default=10.0, help="that are counted")
    add("--warmup-s", type=float, default=1.0, help="before them")
    add("--timeout-s", type=float, default=30.0, help="deadline of a call")
    add("--seed", type=int, default=1, help="of the arrivals")
    add("--remote", action="store_true", help="allow another machine than this one")
    add("--json", action="store_true", help="one document instead of text")
    return parser


def _text(result: Result) -> str:
    lines = []
    for name, value in result.summary().items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {number:,}" for key, number in value.items()) or "none"
        elif isinstance(value, list):
            value = f"lowest {min(value):,}, highest {max(value):,}"
        lines.append(f"{name:<20} {value}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
