"""Does a trust policy mean one thing, and is everything else refused with the line that is wrong?"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from kit.fabricate import LineSigner, LogSigner, World
from sealpress.errors import ConfigError, Invalid
from sealpress.values import DigestAlgorithm, Format
from sealpress.verify import direct
from sealpress.verify.limits import load_limits
from sealpress.verify.note import LineKey, LogKey, line_key, log_key, parse_vkey
from sealpress.verify.policy import POLICY_BYTES_MAX, load_policy, parse_policy

SPECIFICATION = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"


def test_the_vkey_of_the_specification() -> None:
    """C2SP's own example reads and writes the same."""
    key = parse_vkey(SPECIFICATION)

    assert isinstance(key, LogKey)
    assert log_key(key.name, key.public).vkey == SPECIFICATION


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_vkeys_round_trip(kind: str) -> None:
    """What we write we read, and the other side writes the same."""
    line = World.make(kind).line
    key = parse_vkey(line.vkey)

    assert isinstance(key, LineKey)
    assert (key.spki, key.vkey, key.key_id) == (line.spki, line.vkey, line.key_id)
    assert line_key(line.name, line.spki).vkey == line.vkey


WRONG_VKEYS = [
    "",
    "a",
    "a+b",
    SPECIFICATION.replace("example.com/foo", "a"),
    SPECIFICATION[:-1],
    SPECIFICATION + "=",
    SPECIFICATION.replace("530d903a", "530D903A"),
    "x+00000000+",
    "x+00000000+/w==",
]


@pytest.mark.parametrize("vkey", WRONG_VKEYS)
def test_wrong_vkeys_are_refused(vkey: str) -> None:
    """Another key id, another spelling, no key."""
    with pytest.raises(Invalid, match="not a verifier key"):
        parse_vkey(vkey)


def test_comments_spaces_and_urls_are_allowed() -> None:
    """As the specification of policies says."""
    world = World.make()
    text = f"# trust\n\n \t log\t{world.log.vkey}  https://log.example/\n"
    text += f"witness line {world.line.vkey} https://w.example/\nquorum  line\n"

    policy = parse_policy(text.encode())

    assert (policy.line, policy.log_name) == (world.line.line, world.line.log_name)


def wrong(world: World) -> dict[str, str]:
    """Policies that say something else or nothing."""
    log, line = f"log {world.log.vkey}\n", f"witness line {world.line.vkey}\n"
    other = LineSigner(world.log.name, "acme/router/eu/prod/other", World.make().line.private)
    foreign = LogSigner("sign.example/elsewhere")
    return {
        "empty": "",
        "no log": line + "quorum line\n",
        "no line": log + "quorum line\n",
        "no quorum": log + line,
        "two quorums": log + line + "quorum line\nquorum line\n",
        "unknown word": log + line + "quorum line\nallow all\n",
        "undefined member": log + line + "group g any line nobody\nquorum g\n",
        "threshold 0": log + line + "group g 0 line\nquorum g\n",
        "threshold too high": log + line + "group g 2 line\nquorum g\n",
        "threshold without end": log + line + f"group g {'9' * 5_000} line\nquorum g\n",
        "threshold of two spellings": log + line + "group g 01 line\nquorum g\n",
        "a name twice": log + line + f"witness line {other.vkey}\nquorum line\n",
        "a key twice": log + line + f"witness again {world.line.vkey}\nquorum line\n",
        "two lines": log + line + f"witness second {other.vkey}\nquorum line\n",
        "another log's": f"log {foreign.vkey}\n" + line + "quorum line\n",
        "keys exchanged": f"log {world.line.vkey}\nwitness line {world.log.vkey}\nquorum line\n",
        "a group by a witness's name": log + line + "group line any line\nquorum line\n",
        "a group twice": log + line + "group g any line\ngroup g all line\nquorum g\n",
        "a log's key for the line": log + f"witness line {foreign.vkey}\nquorum line\n",
        "name none": log + line + "group none any line\nquorum none\n",
        "no quorum at all": log + line + "quorum none\n",
        "a log with two URLs": log.replace("\n", " https://a/ https://b/\n") + line + "quorum line\n",
        "a witness with two URLs": log + line.replace("\n", " https://a/ https://b/\n") + "quorum line\n",
        "two names for a quorum": log + line + "quorum line line\n",
        "a group of nobody": log + line + "group g any\nquorum g\n",
        "a member twice": log + line + "group g 2 line line\nquorum g\n",
        "a log twice": log + log + line + "quorum line\n",
        "another key of a log": log + f"log {LogSigner(world.log.name).vkey}\n" + line + "quorum line\n",
        "one key for log and line": log
        + f"witness line {LineSigner(world.log.name, world.line.line, world.log.private).vkey}\nquorum line\n",
        "a line of four parts": log
        + f"witness line {LineSigner(world.log.name, 'acme/router/eu/prod', world.line.private).vkey}\nquorum line\n",
    }


@pytest.mark.parametrize("case", list(wrong(World.make())))
def test_wrong_policies_are_refused(case: str, tmp_path: Path) -> None:
    """Each with a ConfigError that names the file."""
    path = tmp_path / "trust.policy"
    path.write_text(wrong(World.make())[case])

    with pytest.raises(ConfigError, match=r"trust\.policy"):
        load_policy(path)


def test_a_policy_is_read_to_its_end_or_refused(tmp_path: Path) -> None:
    """64 KiB with their last line count; of a longer one nothing does, nor of one that is no text or not there."""
    path, text = tmp_path / "trust.policy", World.make().policy.encode()
    head, quorum, _ = text.partition(b"quorum line\n")
    fill = b"#" * (POLICY_BYTES_MAX - len(text) - 1) + b"\n"

    path.write_bytes(head + fill + quorum)
    assert path.stat().st_size == POLICY_BYTES_MAX
    assert load_policy(path).quorum == "line"
    for longer in (head + b"#" + fill + quorum, text + b"#" * POLICY_BYTES_MAX):
        path.write_bytes(longer)
        with pytest.raises(ConfigError, match=r"trust\.policy: .*64 KiB"):
            load_policy(path)
    path.write_bytes(text + b"# \xff")
    with pytest.raises(ConfigError, match=r"trust\.policy: .*UTF-8"):
        load_policy(path)
    with pytest.raises(ConfigError, match=r"nothing\.policy"):
        load_policy(tmp_path / "nothing.policy")


def nested(world: World, groups: int, members: int) -> str:
    """Groups of all groups of the step before, so many steps deep."""
    lines = [f"log {world.log.vkey}", f"witness line {world.line.vkey}"]
    above = ["line"]
    for step in range(groups):
        names = [f"g{step}-{number}" for number in range(members)]
        lines += [f"group {name} all {' '.join(above)}" for name in names]
        above = names
    return "\n".join([*lines, f"quorum {above[0]}"])


@pytest.mark.parametrize(("groups", "members"), [(2_000, 1), (60, 12)])
def test_groups_of_groups_are_quick(groups: int, members: int) -> None:
    """However deep or wide groups stand on groups, each is looked at once: no recursion, no explosion."""
    policy = parse_policy(nested(World.make(), groups, members).encode())

    assert policy.satisfied({"line"})
    assert not policy.satisfied({"somebody"})


def test_limits_are_read_strictly(tmp_path: Path) -> None:
    """Dates and seconds are both good; an unknown key is an error that names the file."""
    path = tmp_path / "limits.toml"
    path.write_text("not_after = 2027-01-01T00:00:00Z\n[[void]]\nfirst = 1\nlast = 2\n")
    assert load_limits(path).not_after_s == 1798761600
    path.write_text("not_after = 12\nmin_version = 3\n")

    with pytest.raises(ConfigError, match=r"limits\.toml.*min_version"):
        load_limits(path)


@pytest.mark.parametrize(
    ("make", "format_", "options"),
    [
        (["ecparam", "-name", "prime256v1", "-genkey", "-noout"], Format.ECDSA_DER, []),
        (["ecparam", "-name", "secp384r1", "-genkey", "-noout"], Format.ECDSA_DER, []),
        (["ecparam", "-name", "secp521r1", "-genkey", "-noout"], Format.ECDSA_DER, []),
        (["genrsa", "3072"], Format.RSA_PKCS1V15, []),
        (["genrsa", "3072"], Format.RSA_PSS, ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]),
    ],
)
def test_raw_signatures_of_openssl_verify(tmp_path: Path, make: list[str], format_: Format, options: list[str]) -> None:
    """What openssl signs we accept; not over another digest, nor in another format."""
    key, file, signature = tmp_path / "key", tmp_path / "file", tmp_path / "sig"
    key.write_bytes(subprocess.run(["openssl", *make], capture_output=True, check=True).stdout)
    file.write_bytes(b"firmware")
    subprocess.run(["openssl", "dgst", "-sha256", "-sign", key, *options, "-out", signature, file], check=True)
    pem = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True, check=True).stdout
    (tmp_path / "public.pem").write_bytes(pem)
    public = direct.load_public_key(tmp_path / "public.pem")
    digest, raw = hashlib.sha256(b"firmware").digest(), signature.read_bytes()

    direct.verify_direct(public, format_, DigestAlgorithm.SHA256, digest, raw)
    for bad in ((hashlib.sha256(b"other").digest(), raw), (digest, raw[:-1]), (digest, b"")):
        with pytest.raises(Invalid):
            direct.verify_direct(public, format_, DigestAlgorithm.SHA256, *bad)
    for other in set(Format) - {format_}:
        with pytest.raises(Invalid):
            direct.verify_direct(public, other, DigestAlgorithm.SHA256, digest, raw)


def test_a_policy_with_line_ends_of_another_system_is_told_so() -> None:
    """CR LF is no wrong key, and is not shown as one: what is wrong with the line is how it ends."""
    with pytest.raises(Invalid, match=r"line 1: it ends with CR LF") as caught:
        parse_policy(World.make().policy.replace("\n", "\r\n").encode())

    assert (caught.value.reason, "carriage returns" in caught.value.hint) == ("POLICY", True)
