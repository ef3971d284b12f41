"""Any bytes to the parsers of trust policies and of witness policies: refused with Invalid, or what the text says.

The first byte: bit 0 says whether key ids, which are hashes, are mended, bit 1 whether it is a node's witness policy;
the rest is the text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from sealpress.errors import Invalid
from sealpress.verify.policy import NONE, TrustPolicy, WitnessPolicy, parse_policy, parse_witnesses


def one_input(data: bytes) -> None:
    """AssertionError, or an error that the parser did not mean to raise, is a finding."""
    how, text = data[0] if data else 0, data[1:]
    if how & 1:
        text = b"\n".join(b" ".join(map(mended, line.split(b" "))) for line in text.split(b"\n"))
    parse = parse_witnesses if how & 2 else parse_policy
    try:
        policy: TrustPolicy | WitnessPolicy = parse(text)
    except Invalid as error:
        assert error.reason == "POLICY"
        return
    assert policy.satisfied(set(policy.witnesses))
    assert policy.satisfied(set()) == (policy.quorum == NONE)
    if isinstance(policy, TrustPolicy):
        assert policy.line_key.name == f"{policy.log_name}/{policy.line}"
        assert all(origin.startswith(policy.log_name + "/") for origin in policy.logs)
    assert parse(spelled(policy)) == policy


def mended(word: bytes) -> bytes:
    """A word that would be a vkey if its key id were right."""
    name, plus, rest = word.partition(b"+")
    _, _, material = rest.partition(b"+")
    try:
        key = base64.b64decode(material, validate=True)
    except binascii.Error:
        return word
    return name + b"+" + hashlib.sha256(name + b"\n" + key).hexdigest()[:8].encode() + b"+" + material if plus else word


def spelled(policy: TrustPolicy | WitnessPolicy) -> bytes:
    """The text of a policy, in our own words."""
    urls = {} if isinstance(policy, TrustPolicy) else policy.urls
    lines = [f"log {key.vkey}" for key in policy.logs.values()]
    lines += [f"witness {name} {key.vkey} {urls.get(name, '')}".rstrip(" ") for name, key in policy.witnesses.items()]
    for name, group in policy.groups.items():
        lines.append(f"group {name} {group.threshold} {' '.join(group.members)}")
    return "\n".join([*lines, f"quorum {policy.quorum}"]).encode()
