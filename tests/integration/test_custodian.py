"""The custodian on a real token: does it make keys as they must be, and are they gone when it says so?"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
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
from kit.firmware import DEPLOYMENT, GOVERNANCE_LOG, LINE, Office
from kit.signer import Node, make_node
from sealpress.governance.facts import KeyCertified, KeyGenerated
from sealpress.hsm.certify import Certified
from sealpress.hsm.custodian import Generated
from sealpress.values import KeyKind
from sealpress.verify import origin
from sealpress.verify.change import ChangeRecord, encode
from sealpress.verify.evidence import Evidence

OPERATOR = "person:ida"
OTHER_LINE = "dev/kit/local/test/other"
NOT_OFFERED = ("mldsa44", "mldsa65", "mldsa87")  # by SoftHSM 2.6: it is of before PKCS#11 3.2


def key_change(kind: str, key: str, line: str = OTHER_LINE, change_id: str = "", **asked: Any) -> ChangeRecord:
    """A change about a key, proposed by Ida."""
    office = Office(int(time.time()))
    request = {"key": key, "line": line}
    if kind in ("key.issue", "key.adopt"):
        request |= {"class": "test", "algorithm": "p256", "slot": "s1"}
    names = {"deployment": DEPLOYMENT, "log": GOVERNANCE_LOG, "requester_person": OPERATOR}
    return office.release(
        kind=kind, line=line, change_id=change_id or f"{kind}-{key}", request=json.dumps(request | asked), **names
    )


def bundle(evidence: Evidence) -> str:
    """The change and its approvals as one file."""
    approvals = [{"statement": s.decode(), "signature": signature} for s, signature in evidence.approvals]
    return json.dumps({"change": evidence.change.decode(), "approvals": approvals})


class Custody:
    """A node whose custodian is asked things."""

    def __init__(self, node: Node) -> None:
        """Its configuration is the node's."""
        self.node = node

    def run(self, command: str, change: ChangeRecord | str, *more: str) -> tuple[int, dict[str, Any]]:
        """Exit code and document."""
        path = self.node.directory / "change.json"
        path.write_text(change if isinstance(change, str) else encode(change).decode())
        files = ["--config", str(self.node.config), "--change", str(path), "--operator", OPERATOR, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "sealpress", "custodian", command, *files, *more],
            env=self.node.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document

    def refused(self, command: str, change: ChangeRecord | str, *more: str) -> str:
        """The reason."""
        code, document = self.run(command, change, *more)
        assert code != 0
        return str(document["error"]["reason"])

    def add(self, key: str, made: dict[str, Any], **other: Any) -> None:
        """Put the key into the configuration, as its operators would."""
        (self.node.directory / "keys" / f"{key}.pem").write_text(made["public_key"])
        config = tomllib.loads(self.node.config.read_text())
        config["key"][key] = {
            "log": "main", "slots": ["s1"], "public_key": f"keys/{key}.pem", "line": made["line"], "mode": "direct",
            "format": "ecdsa-der", "class": "test", "cka_id": made["cka_id"], "cka_label": made["cka_label"], **other,
        }  # fmt: skip
        self.node.config.write_text(tomli_w.dumps(config))

    def at_token(self, script: str, *arguments: str) -> str:
        """What a stranger with the PIN is told: `session` writes on the token, `sys.argv[2:]` are the arguments."""
        opened = (
            "import sys\nfrom pkcs11 import Attribute, KeyType, ObjectClass\nfrom sealpress.hsm import module\n"
            "token = module.Token(module.TokenName('/usr/lib/softhsm/libsofthsm2.so', '', '', 'kit'))\n"
            "token.login(sys.argv[1], bytes(32), ())\nsession = token.open_session(write=True)\n"
        )
        command = [sys.executable, "-c", opened + script, str(self.node.directory / "pin"), *arguments]
        return subprocess.run(command, env=self.node.env, capture_output=True, text=True, check=True).stdout

    def second_token(self, label: str) -> None:
        """Beside the node's, with the same PIN and no keys."""
        pin = (self.node.directory / "pin").read_text().strip()
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "5678-5678"]
        subprocess.run(command, env=self.node.env, capture_output=True, check=True)

    def objects(self) -> list[tuple[str, str]]:
        """Class and label of every object on the token."""
        told = self.at_token("for one in session.get_objects(): print(one.object_class.name, one.label)\n")
        return sorted((line.split()[0], line.split()[1]) for line in told.splitlines())


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
from sealpress.hsm import custodian, custody, module
from sealpress.verify.evidence import Evidence
directory = Path(sys.argv[1])
token = module.Token(module.TokenName('/usr/lib/softhsm/libsofthsm2.so', '', '', 'kit'))
token.login(str(directory / 'pin'), bytes(32), ())
asked = custody.mandate(Evidence((directory / 'change.json').read_bytes(), ()), ('key.issue',), '', '', None, 0)
try: custodian.generate(token, asked, 'person:ida', 1, {**module.PRIVATE_TEMPLATE, Attribute.EXTRACTABLE: True})
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


def test_a_key_is_destroyed_and_searched_for(custody: Custody) -> None:
    """Both objects go, every slot is searched, and the proof says what was looked at."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    assert len(custody.objects()) == 4
    code, document = custody.run("destroy", key_change("key.destroy", "k1"), "--key", "k1")
    proof = document["report"]

    assert code == 0
    assert custody.objects() == [("PRIVATE_KEY", "old"), ("PUBLIC_KEY", "old")]
    assert (proof["destroyed"], proof["key_id"], proof["change_id"]) == (2, made["report"]["key_id"], "key.destroy-k1")
    assert [(one["slot"], one["logged_in"], one["found"]) for one in proof["slots"]] == [("s1", True, 0)]
    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_NOT_FOUND"


def test_an_interrupted_destruction_is_carried_on(custody: Custody) -> None:
    """The private half is gone, the public one is not: the same command takes the rest, and proves that all is gone."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    custody.at_token("""
(private,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: "k1"})
private.destroy()
""")
    code, document = custody.run("destroy", key_change("key.destroy", "k1"), "--key", "k1")

    assert (code, document["report"]["destroyed"]) == (0, 1)
    assert custody.objects() == [("PRIVATE_KEY", "old"), ("PUBLIC_KEY", "old")]


def test_a_destruction_over_two_slots_is_carried_on(custody: Custody) -> None:
    """One token gave up the key and the other did not answer: the next run does not stop at the first."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    config = tomllib.loads(custody.node.config.read_text())
    config["slot"]["s2"] = config["slot"]["s1"] | {"label": "second"}
    custody.node.config.write_text(tomli_w.dumps(config))
    custody.second_token("second")
    custody.add("k1", made, slots=["s2", "s1"])
    code, document = custody.run("destroy", key_change("key.destroy", "k1"), "--key", "k1")

    assert (code, document["report"]["destroyed"]) == (0, 2)
    assert {(one["slot"], one["found"]) for one in document["report"]["slots"]} == {("s1", 0), ("s2", 0)}


def test_nothing_is_destroyed_while_a_slot_cannot_be_searched(custody: Custody) -> None:
    """A configured token is not plugged in: nobody could say that the key is gone, so it stays."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    config = tomllib.loads(custody.node.config.read_text())
    config["slot"]["s2"] = config["slot"]["s1"] | {"label": "elsewhere"}
    custody.node.config.write_text(tomli_w.dumps(config))
    custody.add("k1", made)

    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "SEARCH_FAILED"
    assert len(custody.objects()) == 4


def test_without_login_half_a_key_is_not_taken_for_a_rest(custody: Custody) -> None:
    """Private objects cannot be seen then: the public one is no sign that nothing else is there."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    config = tomllib.loads(custody.node.config.read_text())
    del config["slot"]["s1"]["pin_file"]
    custody.node.config.write_text(tomli_w.dumps(config))

    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_NOT_FOUND"
    assert len(custody.objects()) == 4


def test_what_remains_of_a_key_is_found(custody: Custody) -> None:
    """A second object with the key's label: the destruction is not reported as done."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made)
    custody.at_token('module.generate(session, "p256", b"another", "k1")')
    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_REMAINS"


def test_another_key_than_the_pinned_one_is_not_destroyed(custody: Custody) -> None:
    """The configuration's public key decides."""
    _, made = custody.run("generate", key_change("key.issue", "k1"))
    custody.add("k1", made | {"cka_id": "a0", "cka_label": "old"})
    assert custody.refused("destroy", key_change("key.destroy", "k1"), "--key", "k1") == "KEY_MISMATCH"
    assert len(custody.objects()) == 4


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
