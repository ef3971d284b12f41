"""What the guard signs itself, before it leaves."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealpress.hsm.finish import sign_log
from sealpress.hsm.keytable import GuardLog
from sealpress.verify import note

ORIGIN = "dev.example/main/1"


class _Faulty:
    """A private key whose machine computes one bit of a signature wrongly."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, text: bytes) -> bytes:
        signature = self._key.sign(text)
        return bytes([signature[0] ^ 1]) + signature[1:]


@pytest.mark.parametrize("faulty", [False, True])
def test_no_faulty_signature_of_a_log_key_leaves(faulty: bool) -> None:
    """A log line verifies, or there is none: a faulty Ed25519 signature beside a right one gives the key away."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = key.public_key()
    named = note.log_key(ORIGIN, public.public_bytes_raw())
    text = note.checkpoint_text(ORIGIN, 1, bytes(32))
    log = GuardLog(ORIGIN, "dev.example/main", named, _Faulty(key) if faulty else key, public)  # type: ignore[arg-type]
    if faulty:
        with pytest.raises(InvalidSignature):
            sign_log(log, text)
    else:
        assert sign_log(log, text).startswith("\u2014 ".encode() + ORIGIN.encode())
