"""ML-DSA (FIPS 204): its three parameter sets, as a key request, a line key's type, and a token name them.

Signatures are pure ML-DSA with an empty context, over the whole message.

Guarantees: a parameter set that is not in the table is not signed with, nor believed. Does not: sign or verify.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import mldsa

PublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """`kind` as a key request names it, `scheme` as a line key's type does."""

    kind: str
    scheme: str
    public: type[mldsa.MLDSA44PublicKey] | type[mldsa.MLDSA65PublicKey] | type[mldsa.MLDSA87PublicKey]
    number: int  # CKA_PARAMETER_SET of PKCS#11 3.2
    signature_bytes: int


PARAMETER_SETS = (
    ParameterSet("mldsa44", "ml-dsa-44", mldsa.MLDSA44PublicKey, 1, 2_420),
    ParameterSet("mldsa65", "ml-dsa-65", mldsa.MLDSA65PublicKey, 2, 3_309),
    ParameterSet("mldsa87", "ml-dsa-87", mldsa.MLDSA87PublicKey, 3, 4_627),
)


def parameter_set_of(public: PublicKey) -> ParameterSet:
    """Which one a key is of."""
    return next(known for known in PARAMETER_SETS if isinstance(public, known.public))
