"""Any bytes to the parser of trust policies: refused with Invalid, or a policy that means what its text says.

The first byte says whether key ids, which are hashes, are mended; the rest is the text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from sealpress.errors import Invalid
from sealpress.verify.policy import TrustPolicy, parse_policy


def one_input(data: bytes) -> None:
    """AssertionError, or an error that the parser did not mean to raise, is a finding."""
    text = data[1:]
    if data[:1] == b"\x01":
        text = b"\n".join(b" ".join(map(mended, line.split(b" "))) for line in text.split(b"\n"))
    try:
        policy = parse_policy(text)
    except Invalid as error:
        assert error.reason == "POLICY"
        return
    everybody = set(policy.witnesses)
    assert policy.satisfied(everybody)
    assert not policy.satisfied(set())
    assert policy.line_key.name == f"{policy.log_name}/{policy.line}"
    assert all(origin.startswith(policy.log_name + "/") for origin in policy.logs)
    assert parse_policy(spelled(policy)) == policy


def mended(word: bytes) -> bytes:
    """A word that would be a vkey if its key id were right."""
    name, plus, rest = word.partition(b"+")
    _, _, material = rest.partition(b"+")
    try:
        key = base64.b64decode(material, validate=True)
    except binascii.Error:
        return word
    return name + b"+" + hashlib.sha256(name + b"\n" + key).hexdigest()[:8].encode() + b"+" + material if plus else word


def spelled(policy: TrustPolicy) -> bytes:
    """The text of a policy, in our own words."""
    lines = [f"log {key.vkey}" for key in policy.logs.values()]
    lines += [f"witness {name} {key.vkey}" for name, key in policy.witnesses.items()]
    for name, group in policy.groups.items():
        lines.append(f"group {name} {group.threshold} {' '.join(group.members)}")
    return "\n".join([*lines, f"quorum {policy.quorum}"]).encode()
