"""PKCS#11 mechanisms that keys sign with: their numbers and names, and which of two a token is asked for.

Where the structure to be signed is ours and short (a cosignature, a key's birth), a token that hashes itself gets the
whole of it: then all of the signature algorithm runs inside the module's boundary (FIPS 140-3). Raw direct formats are
over a digest that a leaf commits to; nobody here has the message.

Guarantees: what a token is asked for it says that it offers. Does not: make jobs, or verify.
"""

from __future__ import annotations

from collections.abc import Container

from msgspec import structs

from sealpress.hsm.work import WorkerJob

CKM_RSA_PKCS = 0x1
CKM_RSA_PKCS_PSS = 0xD
CKM_ML_DSA = 0x1D  # PKCS#11 3.2
CKM_SHA256_RSA_PKCS_PSS = 0x43
CKM_ECDSA = 0x1041
CKM_ECDSA_SHA256 = 0x1044
CKM_ECDSA_SHA384 = 0x1045
CKM_ECDSA_SHA512 = 0x1046
CKM_EDDSA = 0x1057

MECHANISMS = {
    CKM_RSA_PKCS: "RSA_PKCS",
    CKM_RSA_PKCS_PSS: "RSA_PKCS_PSS",
    CKM_ML_DSA: "ML_DSA",
    CKM_SHA256_RSA_PKCS_PSS: "SHA256_RSA_PKCS_PSS",
    CKM_ECDSA: "ECDSA",
    CKM_ECDSA_SHA256: "ECDSA_SHA256",
    CKM_ECDSA_SHA384: "ECDSA_SHA384",
    CKM_ECDSA_SHA512: "ECDSA_SHA512",
    CKM_EDDSA: "EDDSA",
}


def chosen(job: WorkerJob, offered: Container[int]) -> WorkerJob:
    """The same operation as this token does it best."""
    if job.whole is None or job.whole.mechanism not in offered:
        return job
    return structs.replace(job, mechanism=job.whole.mechanism, data=job.whole.message, whole=None)
