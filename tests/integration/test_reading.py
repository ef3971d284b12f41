"""Any tile client monitors a running node: what it publishes over plain HTTP, and nothing more."""

from __future__ import annotations

import hashlib

from independent.tiles import TileClient
from kit.node import PROOF, Node
from sealpress.core.merkle import verify_consistency, verify_inclusion
from sealpress.core.proof import parse_note, parse_proof
from sealpress.verify.note import verify_log


def test_a_monitor_follows_a_node_over_http() -> None:
    """The heads that it reads hold the log's line alone, grow consistently, and hold the leaves that were answered."""
    with Node() as node, node.client() as client:
        ((origin, key),) = node.trust().logs.items()
        prefix = f"http://{node.ready['http']}/{origin.partition('/')[2]}"
        size, root = 0, b""
        for round_ in range(3):
            digests = [hashlib.sha256(b"%d %d" % (round_, i)).digest() for i in range(70)]
            proof = parse_proof([client.sign(digest, line=PROOF) for digest in digests][-1].proof)
            monitor = TileClient(prefix)
            note = parse_note(monitor.get("checkpoint")[0])
            assert proof.index < note.size
            assert [origin] == [line.name for line in note.lines]
            verify_log(key, note.text, note.lines[0].signature)
            assert note.root == monitor.root(note.size)
            leaf, path = monitor.node(0, proof.index, note.size), b"".join(monitor.inclusion(proof.index, note.size))
            assert verify_inclusion(leaf, proof.index, note.size, path, note.root)
            growth = b"".join(monitor.consistency(size, note.size)) if size else b""
            assert not size or verify_consistency(size, note.size, root, note.root, growth)
            size, root = note.size, note.root
        assert 404 == monitor.status("tile/entries/000")
