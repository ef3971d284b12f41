"""The PINs of this run: random, and looked for in what its processes say, leave behind and keep in memory.

    PIN = new_pin()
    check("stderr of the signer", words)      # AssertionError if any PIN of this run is in it
    where(pid, PIN)                           # mappings of a process in which it stands

Guarantees: a PIN is found in plain text, whole or its first or second half. Does not: find one that is encoded.
"""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path

FILE_BYTES_MAX = 1 << 20  # the journal's segments are larger, and full of zeros
_known: set[str] = set()
LEAKED: list[str] = []


def new_pin() -> str:
    """32 characters that nothing else says by chance."""
    return remember(secrets.token_hex(16))


def remember(pin: str) -> str:
    """Looked for from now on."""
    _known.add(pin)
    return pin


def parts(pin: str) -> tuple[str, ...]:
    """What to look for: a half is as good as the whole to whoever guesses the rest."""
    half = len(pin) // 2
    return (pin[:half], pin[half:]) if half >= 8 else (pin,)


def says_one(text: str) -> bool:
    """Whether a PIN of this run, or half of one, is in the text."""
    return any(part in text for pin in _known for part in parts(pin))


def check(what: str, text: str) -> None:
    """AssertionError, which does not repeat the PIN; the run fails even if somebody catches it."""
    if says_one(text):
        LEAKED.append(what)
        raise AssertionError(f"a PIN is said by {what}")


def check_files(directory: Path, *, but: str) -> None:
    """Of every file below a directory, but for one part of it, where PINs are kept."""
    for path in directory.rglob("*"):
        if path.is_file() and but not in path.relative_to(directory).parts and path.stat().st_size < FILE_BYTES_MAX:
            check(str(path), path.read_bytes().decode("latin-1"))


def where(pid: int, pin: str) -> Counter[str]:
    """How often a PIN, or half of one, stands in each readable mapping of a process; as root."""
    found: Counter[str] = Counter()
    needles = [part.encode() for part in parts(pin)]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, access, _offset, _device, _inode, *name = line.split(maxsplit=5)
            mapping = name[0].strip() if name else "anonymous"
            if "r" not in access or mapping.startswith("[v"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:  # guard pages, and files that were cut short
                continue
            found[mapping] += sum(content.count(needle) for needle in needles)
    return +found
