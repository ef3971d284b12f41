"""A front end that was taken over: it writes the log as it likes and speaks the socket's language."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import msgspec

from kit import shim
from kit.clock import VirtualClock
from kit.firmware import KEY, Office, OpenedLog
from kit.signer import ORIGIN, LocalSigner, Node
from sealpress.errors import Refusal
from sealpress.hsm import frames as f
from sealpress.hsm import messages as m
from sealpress.hsm.leaves import DirectItem, EventLeaf, Openings, SignatureLeaf
from sealpress.hsm.link import SignerLink
from sealpress.values import LeafKind
from sealpress.verify.evidence import Evidence

NOW = 1_800_000_000
DIGEST, EVIL = (hashlib.sha256(name).digest() for name in (b"approved", b"evil"))
OFFICE = Office(NOW)


@dataclass
class Front:
    """A front end with a log of one accepted head (four events), its people, and every means to lie."""

    node: Node
    link: SignerLink
    log: OpenedLog
    clock: VirtualClock
    signer: LocalSigner
    counters: shim.Shim
    kind: LeafKind

    @property
    def spki(self) -> bytes:
        """Of the line's key."""
        return self.node.public(KEY)

    def leaf(self, digest: bytes = DIGEST, time: int = NOW, **how: object) -> SignatureLeaf:
        """Append one that the line answers for."""
        return self.log.sign(self.kind, self.spki, digest, time, **how)  # type: ignore[arg-type]

    async def advance(self, *evidence: Evidence, opened: Openings | None = None, **change: object) -> None:
        """Tell everything new, honestly but for `opened` and `change`."""
        size = self.log.tree.size
        last = self.log.leaves[-1]
        time = last.time if isinstance(last, EventLeaf) else int.from_bytes(last.opening[5:13])
        fields = {
            "size": size,
            "root": self.log.tree.root(),
            "consistency": self.log.tree.growth(self.log.told, size),
            "newest_leaf_time": time,
            "opened": self.log.opened(*evidence) if opened is None else opened,
            **change,
        }
        await self.link.advance(ORIGIN, **fields)  # type: ignore[arg-type]
        self.log.told = size

    async def signature(self, position: int = -1, size: int | None = None) -> bytes:
        """Ask for it all the same: the newest leaf's direct signature, or the newest head's."""
        size = self.log.tree.size if size is None else size
        if self.kind is LeafKind.PROOF:
            sealed = await self.link.seal(ORIGIN, size, [KEY])
            return sealed.lines[KEY].line
        index = position % self.log.tree.size
        leaf = self.log.leaves[index]
        opening, digest = (leaf.opening, leaf.digest) if isinstance(leaf, SignatureLeaf) else (bytes(61), DIGEST)
        item = DirectItem(opening, digest, index, self.log.tree.inclusion(index, self.log.tree.size))
        (result,) = await self.link.direct(KEY, [item], size)
        if result.reason:
            raise Refusal("refused", reason=result.reason)
        return result.signature

    async def raw(self, **fields: object) -> None:
        """A frame with any map in it; its refusal."""
        reader, writer = await asyncio.open_unix_connection(str(self.node.socket))
        body = msgspec.msgpack.encode(fields)
        frames = f.Frames(m.answer_decoder)
        try:
            writer.write(f.frame(f.Hello(f.VERSION)) + f.PREFIX.pack(len(body)) + body)
            async with asyncio.timeout(5):
                while True:
                    for answer in frames.feed(await reader.read(1 << 16)):
                        if isinstance(answer, m.Refused):
                            raise Refusal(answer.message, reason=answer.reason)
        finally:
            writer.close()
