"""What makes two requests with one id the same: the fast form against the formula of DESIGN 6, field by field."""

from __future__ import annotations

import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from sealpress.core import leaf
from sealpress.steps._sameness import sameness
from sealpress.values import Artifact, DigestAlgorithm, SignAsk

TEXT = st.text(max_size=12)
U64 = st.integers(0, 2**63 - 1)


@st.composite
def asks(draw: st.DrawFn) -> SignAsk:
    """Any request that the edge lets through: names and sizes both or neither."""
    algorithm = draw(st.sampled_from(DigestAlgorithm))
    count = draw(st.integers(1, 4))
    named = draw(st.booleans())
    return SignAsk(
        request_id="r",
        line=draw(TEXT),
        algorithm=algorithm,
        digests=draw(st.binary(min_size=algorithm.size * count, max_size=algorithm.size * count)),
        names=tuple(draw(st.lists(TEXT, min_size=count, max_size=count))) if named else (),
        sizes=tuple(draw(st.lists(U64, min_size=count, max_size=count))) if named else (),
        artifact=draw(st.one_of(st.just(Artifact()), st.builds(Artifact, TEXT, TEXT, U64, TEXT))),
        grant_id=draw(TEXT),
        security_version=draw(st.integers(0, 2**32 - 1)),
    )


def formula(ask: SignAsk) -> bytes:
    """SHA-256 over the fields that DESIGN 6 names, in its order, each with its length."""
    artifact = ask.artifact
    fields = (
        ask.line.encode(),
        ask.algorithm.label.encode(),
        ask.digests,
        b"".join(struct.pack(">Q", len(name.encode())) + name.encode() for name in ask.names),
        b"".join(struct.pack(">Q", size) for size in ask.sizes),
        artifact.name.encode(),
        artifact.version.encode(),
        struct.pack(">Q", artifact.size),
        artifact.media_type.encode(),
        struct.pack(">I", ask.security_version),
        ask.grant_id.encode(),
    )
    return hashlib.sha256(b"".join(struct.pack(">Q", len(field)) + field for field in fields)).digest()


@given(asks())
def test_sameness_is_the_formula(ask: SignAsk) -> None:
    """The same bytes for every request, so that a retry after an upgrade is still the same request."""
    names = leaf.pack_names(ask.names, ask.sizes) if ask.names or ask.sizes else b""

    assert sameness(ask, names) == formula(ask)
