"""The custodian on a real token: does it make keys as they must be, and are they gone when it says so?"""

from __future__ import annotations

import ast
import base64
import hashlib
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from kit.approving import Person
from kit.custody import OPERATOR, OTHER_LINE, Custody, bundle, key_change
from kit.firmware import LINE, Office
from kit.signer import make_node
from sealpress.governance.facts import KeyCertified, KeyGenerated
from sealpress.hsm.certify import Certified
from sealpress.hsm.custodian import Generated
from sealpress.values import KeyKind
from sealpress.verify import origin
from sealpress.verify.change import encode

NOT_OFFERED = ("mldsa44", "mldsa65", "mldsa87")  # by SoftHSM 2.6: it is of before PKCS#11 3.2


@pytest.fixture
def custody(tmp_path: Path) -> Custody:
    """A token with one old key."""
    return Custody(make_node(tmp_path / "n", keys={"old": ("p256", "main", "direct", "ecdsa-der")}))


@pytest.mark.parametrize("algorithm", [kind for kind in get_args(KeyKind) if kind not in NOT_OFFERED])
def test_a_key_is_born_with_a_proof(custody: Custody, algorithm: str) -> None:
    """Its attributes are read back, and its own signature is over all that the statement of its birth says."""
    change = key_change("key.issue", "k1", algorithm=algorithm)
    began = int(time.time())
    code, made = custody.run("generate", change)

    assert code == 0
    report = made["report"]
    spki = base64.b64decode(report["spki"])
    birth = origin.check(report["origin_proof"], spki)
    assert (birth.change_id, birth.change_sha256, birth.key, birth.line) == (
        "key.issue-k1",
        change.sha256,
        "k1",
        OTHER_LINE,
    )
    assert (dict(birth.attributes), birth.operator) == (report["attributes"], OPERATOR)
    assert began <= birth.time <= time.time()
    demanded = {"sensitive", "always_sensitive", "never_extractable", "local", "private", "token", "sign"}
    assert demanded <= {name for name, value in report["attributes"].items() if value}
    assert not any(report["attributes"][name] for name in ("extractable", "modifiable", "decrypt", "unwrap", "derive"))
    assert (report["origin"], report["software_token"], report["operator"]) == ("custodian", True, OPERATOR)
    assert report["key_id"] == hashlib.sha256(spki).hexdigest()
    assert custody.refused("generate", change) == "KEY_EXISTS"


def test_reports_have_the_fields_of_their_facts() -> None:
    """What the custodian writes is what the governance log records."""
    for report, fact in ((Generated, KeyGenerated), (Certified, KeyCertified)):
        assert report.__struct_fields__ == fact.__struct_fields__


@pytest.mark.parametrize("algorithm", NOT_OFFERED)
def test_a_token_that_makes_no_such_key_is_left_as_it_was(custody: Custody, algorithm: str) -> None:
    """The refusal says that the token makes no key of this kind, and nothing stays on it."""
    before = custody.objects()
    reason = custody.refused("generate", key_change("key.issue", "k1", algorithm=algorithm))

    assert reason == "TOKEN_FAILED"
    assert custody.objects() == before


def test_a_key_that_is_not_as_demanded_is_destroyed(custody: Custody) -> None:
    """A token that makes an extractable key: refused, told what is wrong, and nothing of it is left."""
    before = custody.objects()
    script = """
import sys
from pathlib import Path
from pkcs11 import Attribute
from sealpress.errors import Invalid
from sealpress.hsm import custodian, custody, module, pairs
from sealpress.verify.evidence import Evidence
directory = Path(sys.argv[1])
token = module.Token(module.TokenName('/usr/lib/softhsm/libsofthsm2.so', '', '', 'kit'))
token.login(str(directory / 'pin'), bytes(32), ())
asked = custody.mandate(Evidence((directory / 'change.json').read_bytes(), ()), ('key.issue',), '', '', None, 0)
try: custodian.generate(token, asked, 'person:ida', 1, {**pairs.PRIVATE_TEMPLATE, Attribute.EXTRACTABLE: True})
except Invalid as error: print(error.reason, error.message)
"""
    (custody.node.directory / "change.json").write_bytes(encode(key_change("key.issue", "k1")))
    arguments = [sys.executable, "-c", script, str(custody.node.directory)]
    done = subprocess.run(arguments, env=custody.node.env, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("KEY_ATTRIBUTES")
    assert "extractable is true, never_extractable is false" in done.stdout
    assert custody.objects() == before


def test_no_second_key_gets_a_label_that_is_there(custody: Custody) -> None:
    """A line that finds its key by label would find two, and of neither could anybody prove that it is gone."""
    assert custody.refused("generate", key_change("key.issue", "old")) == "KEY_EXISTS"
    assert len(custody.objects()) == 2


def test_a_token_that_refuses_a_wish_is_not_asked_for_more(custody: Custody) -> None:
    """MODIFIABLE is not known everywhere: the key that is made without it signs, and derives nothing all the same."""
    told = custody.at_token("""
from pkcs11.exceptions import AttributeTypeInvalid
from sealpress.hsm import objects
make = objects.generate_pair
def narrow(session, kind, cka_id, label, private, public):
    if Attribute.MODIFIABLE in private:
        raise AttributeTypeInvalid
    return make(session, kind, cka_id, label, private, public)
objects.generate_pair = narrow
made = objects.attributes(objects.make(session, "p256", b"id", "k1").private)
print(sorted(name for name, value in made.items() if value))
""")

    may = {"always_sensitive", "local", "modifiable", "never_extractable", "private", "sensitive", "sign", "token"}
    assert ast.literal_eval(told) == sorted(may)


def test_an_existing_key_is_adopted_with_its_risk(custody: Custody) -> None:
    """Attributes are read back, no birth is claimed, and the change must say why that is borne."""
    code, made = custody.run(
        "adopt", key_change("key.adopt", "fielded", accepted_risk="burned in since 2019"), "--cka-label", "old"
    )
    report = made["report"]

    assert code == 0
    assert base64.b64decode(report["spki"]) == custody.node.public("old")
    assert (report["origin"], report["origin_proof"], report["accepted_risk"]) == ("none", "", "burned in since 2019")
    assert report["attributes"]["sensitive"]
    silent = key_change("key.adopt", "fielded")
    assert custody.refused("adopt", silent, "--cka-label", "old") == "RISK_NOT_ACCEPTED"
    risky = key_change("key.adopt", "fielded", accepted_risk="x")
    assert custody.refused("adopt", risky, "--cka-label", "nobody") == "KEY_NOT_FOUND"


def test_a_key_whose_public_object_is_of_another_is_not_adopted(custody: Custody) -> None:
    """The private key itself must sign for the public key that is reported: whoever planted that has its other half."""
    planted = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = planted.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    custody.at_token(
        """
(old,) = session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: "old"})
same = {name: old[name] for name in (Attribute.ID, Attribute.LABEL, Attribute.EC_PARAMS)}
old.destroy()
session.create_object({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, **same,
                       Attribute.EC_POINT: bytes([4, 65]) + bytes.fromhex(sys.argv[2]), Attribute.TOKEN: True})
""",
        point.hex(),
    )
    risky = key_change("key.adopt", "fielded", accepted_risk="burned in since 2019")

    assert custody.refused("adopt", risky, "--cka-label", "old") == "WRONG_SIGNATURE"


@pytest.mark.parametrize("kind", ["p256", "p521", "ed25519", "rsa3072"])
@pytest.mark.parametrize("direct", [False, True])
def test_a_key_is_adopted_as_its_line_will_use_it(tmp_path: Path, kind: str, direct: bool) -> None:
    """It signs once in the line's own format; one that cannot is refused."""
    formats = {"rsa3072": "rsa-pkcs1v15"} if direct else {}
    format_ = formats.get(kind, "ecdsa-der" if direct else "tlog-proof")
    custody = Custody(make_node(tmp_path / "n", keys={"old": (kind, "main", "proof", "tlog-proof")}))
    change = key_change("key.adopt", "fielded", accepted_risk="burned in since 2019", format=format_)
    code, document = custody.run("adopt", change, "--cka-label", "old")

    if (kind, direct) == ("ed25519", True):
        assert (code, document["error"]["reason"]) == (2, "CONFIG")
    else:
        assert (code, base64.b64decode(document["report"]["spki"])) == (0, custody.node.public("old"))


def test_a_report_that_cannot_be_written_is_not_lost(custody: Custody) -> None:
    """The key is made by then and is made once: what should have gone to the file stands on stdout."""
    output = custody.node.directory / "nowhere" / "report.json"
    code, document = custody.run("generate", key_change("key.issue", "k1"), "--output", str(output))

    assert code == 4
    assert document["report"]["key"] == "k1"
    assert document["public_key"].startswith("-----BEGIN PUBLIC KEY-----")


def test_a_key_that_cannot_be_read_back_leaves_nothing(custody: Custody) -> None:
    """A token that makes a key and then does not tell its public half: no key stays without its proof."""
    before = custody.objects()
    told = custody.at_token("""
from pkcs11.exceptions import DeviceError
from sealpress.errors import CannotStart
from sealpress.hsm import objects
def silent(key): raise DeviceError
objects.public_spki = silent
try: objects.make(session, "p256", b"id", "k1")
except CannotStart as error: print(error.reason)
""")

    assert told == "TOKEN_FAILED\n"
    assert custody.objects() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "key.adopt"}, "CHANGE_KIND"),
        ({"kind": "key.destroy"}, "CHANGE_KIND"),
        ({"line": LINE}, "CHANGE_SUBJECT"),
        ({"expires": 1_700_000_000}, "CHANGE_EXPIRED"),
        ({"request": "{}"}, "CHANGE_KIND"),
        ({"request": '{"key":"k1","line":"' + OTHER_LINE + '","algorithm":"p256","slot":"s9"}'}, "CONFIG"),
    ],
)
def test_nothing_is_made_without_its_change(custody: Custody, change: dict[str, Any], reason: str) -> None:
    """Another kind, line or time: refused before the token is touched."""
    assert custody.refused("generate", structs.replace(key_change("key.issue", "k1"), **change)) == reason
    assert len(custody.objects()) == 2


def test_no_change_record_at_all(custody: Custody) -> None:
    """Any other file, and any other person, is refused."""
    assert custody.refused("generate", "please") == "CHANGE_ENCODING"
    code, document = custody.run("generate", key_change("key.issue", "k1"), "--operator", "root")
    assert (code, document["error"]["reason"]) == (2, "CONFIG")


def test_with_anchors_the_custodian_verifies_the_approvals(custody: Custody) -> None:
    """A firmware key: without the quorum's own signatures nothing is made, with them it is."""
    office = Office(int(time.time()))
    document, signatures = office.signed(office.document())
    place = custody.node.directory
    (place / "anchors.json").write_bytes(document)
    (place / "anchors.sig").write_text("".join(signatures))
    config = tomllib.loads(custody.node.config.read_text())
    config["signer"] |= {"anchors": "anchors.json", "anchors_signatures": ["anchors.sig"]}
    custody.node.config.write_text(tomli_w.dumps(config))

    change = key_change("key.issue", "fw", LINE, **{"class": "firmware"})
    assert custody.refused("generate", change) == "QUORUM_MISSING"
    one = office.evidence(change, office.alice)
    assert custody.refused("generate", bundle(one)) == "QUORUM_MISSING"
    stranger = office.evidence(change, office.alice, Person("person:bob"))
    assert custody.refused("generate", bundle(stranger)) == "APPROVAL_KEY"
    other = key_change("key.issue", "fw2", LINE, **{"class": "firmware"})
    swapped = replace(office.evidence(change), change=encode(other))
    assert custody.refused("generate", bundle(swapped)) == "APPROVAL_STATEMENT"
    assert len(custody.objects()) == 2
    code, made = custody.run("generate", bundle(office.evidence(change)))
    assert (code, made["report"]["key"]) == (0, "fw")


@pytest.mark.parametrize("algorithm", ["ed25519", "p256", "p384", "p521", "rsa3072"])
def test_a_request_is_signed_by_the_token(custody: Custody, algorithm: str) -> None:
    """PKCS#10 that openssl's library accepts; the chain that comes back must be this key's and whole."""
    change = key_change("key.issue", "k1", algorithm=algorithm)
    _, made = custody.run("generate", change)
    custody.add("k1", made, mode="proof", format="tlog-proof")
    change = structs.replace(change, expires=change.created + 1)  # carried out: the certificate may come later
    code, document = custody.run("certify", change, "--key", "k1", "--subject", "CN=acme firmware,O=acme")
    assert code == 0
    request = x509.load_pem_x509_csr(document["request"].encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=acme firmware,O=acme"

    chain = custody.node.directory / "chain.pem"
    whole, foreign = issue(request.public_key()), issue(ec.generate_private_key(ec.SECP256R1()).public_key())
    chain.write_bytes(b"".join(whole))
    code, document = custody.run("certify", change, "--key", "k1", "--chain", str(chain))
    report = document["report"]
    assert code == 0
    assert report["chain_sha256"] == hashlib.sha256(report["chain"].encode()).hexdigest()
    for wrong in (foreign, [whole[0], foreign[1]], whole[::-1], [b"no"]):
        chain.write_bytes(b"".join(wrong))
        assert custody.refused("certify", change, "--key", "k1", "--chain", str(chain)) == "CHAIN"


def issue(public: Any) -> list[bytes]:
    """A certificate for this key and that of its authority."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name.from_rfc4514_string("CN=root"), datetime.now(UTC)
    chain = []
    for subject, key, ca in (("CN=leaf", public, False), ("CN=root", authority.public_key(), True)):
        builder = x509.CertificateBuilder(
            name, x509.Name.from_rfc4514_string(subject), key, x509.random_serial_number()
        )
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        chain.append(builder.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM))
    return chain
