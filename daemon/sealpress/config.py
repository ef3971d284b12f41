"""The shape of `sealpress.toml`: this file is the manual of the settings.

Guarantees: strict decoding (an unknown key is an error that names it), defaults, units last in each name, hard limits.
Does not: open keys, sockets or directories; wiring does. Relative paths count from the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sealpress.errors import ConfigError
from sealpress.reading import read_whole
from sealpress.values import LOG_NAME, Format, KeyClass, Mode

Name = Annotated[str, Meta(min_length=1, max_length=256)]
LogName = Annotated[str, Meta(pattern=rf"^{LOG_NAME.pattern}\Z")]
MOST = (1 << 31) - 1  # what a number may be wherever it goes: gRPC and the core count in 32 bits
Positive = Annotated[int, Meta(ge=1, le=MOST)]
Natural = Annotated[int, Meta(ge=0, le=MOST)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 50)]
Place = Annotated[str, Meta(pattern=r"^[^\x00]+\Z")]  # a path, from the file
NoPlace = Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]  # the same, or none
HELD = "witnessed"
PORT_MAX = 65_535
LOGS_MAX = 64  # each takes a 128th part of a process's addresses (csrc/sp_level.h)


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No key that we do not know is ever ignored."""


class Node(_Strict, frozen=True, kw_only=True):
    """`[node]`: this machine's part."""

    name: Name
    data: Place  # directory that holds a directory per log
    environment: Name
    policy: Place = "policy.toml"


class Listen(_Strict, frozen=True, kw_only=True):
    """`[[listen]]`: port 0 picks a free one.

    "mtls": a client certificate of [tls] client_ca. "token": no certificate, but metadata `authorization: Bearer …`
    with a token of an [issuer.<id>]; nothing, not even health, is answered without one. A listener has one of the two.
    """

    address: Name  # host:port
    services: Annotated[tuple[Literal["signing", "control", "audit", "http"], ...], Meta(min_length=1)]
    auth: Literal["mtls", "token", "none"] = "mtls"  # "none" for http alone


class Tls(_Strict, frozen=True, kw_only=True):
    """`[tls]`: PEM files, re-read when they change and on SIGHUP."""

    cert: Place
    key: Place
    client_ca: NoPlace = ""  # may be left out where no listener has auth = "mtls"
    reload_s: Positive = 10


class Token(_Strict, frozen=True, kw_only=True):
    """`[token]`: what bearer tokens must be, whoever issues them. For listeners with auth = "token"."""

    audience: Name  # the only `aud` that we take: the name of this node, as https://sign.acme.example
    lifetime_s_max: Annotated[int, Meta(ge=1, le=900)] = 900  # from `iat` to `exp`
    skew_s: Annotated[int, Meta(ge=0, le=60)] = 60  # how far the issuer's clock may be from ours


class IssuerSection(_Strict, frozen=True, kw_only=True):
    """`[issuer.<id>]`: a CI whose tokens are read; all others are refused (GR-70).

    GitHub Actions   url "https://token.actions.githubusercontent.com", jwks_uri ….well-known/jwks
    GitLab CI        url of the instance, jwks_uri …/oauth/discovery/keys
    Buildkite        url "https://agent.buildkite.com", jwks_uri ….well-known/jwks
    anything else    kind "generic": it must say immutable ids of repository and owner (governance/claims.py)
    """

    url: Name  # exactly what stands in `iss`
    kind: Literal["github", "gitlab", "buildkite", "generic"]
    jwks_uri: str = ""  # https; read every ten minutes and when a token names a new key ...
    jwks_file: NoPlace = ""  # ... or a file for nodes without a way out, read when it changes; one of the two
    owners: tuple[Name, ...] = ()  # ids of the owners (organisations) whose tokens are looked at; empty: all


class LogSection(_Strict, frozen=True, kw_only=True):
    """`[log.<id>]`, of which a node has LOGS_MAX at most."""

    name: LogName  # host/label in small letters; stands in every proof, for as long as there is this log
    number: Natural = 1
    key: Place  # Ed25519 PKCS#8 PEM file (read by the signer alone) ...
    public_key: Place  # ... and its public half, PEM, pinned by serve
    governance: bool = False
    signer: NoPlace = ""  # socket of the signer that holds it; empty: [signer] socket


class ProbeKey(_Strict, frozen=True, kw_only=True):
    """`[slot.<id>.probe_key]`: a key of that token that signs nothing but probes (hsm/probe.py), and no line has."""

    public_key: Place  # PEM, pinned
    cka_id: str = ""  # hex
    cka_label: str = ""


class SlotSection(_Strict, frozen=True, kw_only=True):
    """`[slot.<id>]`: a token behind a PKCS#11 module; found by serial and label, several matches are refused."""

    module: Place  # or a bare name, for the system's loader
    label: Name
    serial: str = ""
    pin_file: NoPlace = ""
    reserved: str = ""  # NSS wants an initialisation string
    sessions: Annotated[int, Meta(ge=1, le=64)] = 4
    # CKA_… of the vendor: how often a private key was used, by the token's own count
    operations_attribute: Annotated[int, Meta(ge=0, le=(1 << 32) - 1)] = 0
    laboratory: bool = False  # a token that keeps keys in files may have keys of any class (GR-04)
    # A call that is not answered in time: its worker is replaced, and at twice the time killed. Several times what one
    # operation takes: `sealpress hsm check` says how long that is.
    deadline_ms: Positive = 2_000
    heartbeat_ms: Positive = 1_000  # between signs of life of the worker
    probe_ms: Positive = 10_000  # of silence, after which the token itself is asked: a signature of the probe key ...
    probe_key: ProbeKey | None = None  # ... or, without one, how it is (C_GetTokenInfo)
    keepalive_ms: Natural = 0  # no session is idle for longer, where a firewall ends idle connections; 0: none does
    breaker_errors: Positive = 3  # so many errors ...
    breaker_window_ms: Positive = 10_000  # ... in so long a time, and the slot gets no work for a while


class KeySection(_Strict, frozen=True, kw_only=True):
    """`[key.<id>]`: one key, one log, one line, one mode and format."""

    log: Name
    slots: tuple[str, ...]
    public_key: Place  # PEM, pinned: the token's key must be this one
    line: Name
    mode: Mode
    format: Format
    class_: KeyClass = msgspec.field(name="class")
    cka_id: str = ""  # hex
    cka_label: str = ""
    tenant: str = ""  # who shares the tokens with others, in turns; empty: the first two components of the line
    state: Literal["active", "verify_only", "governed"] = "active"  # governed: the governance log says who signs
    adopted: bool = False  # taken over, not made here: nobody can prove where it was born (GR-03)
    hold: Literal["none", "witnessed"] = "none"  # witnessed: signs only what the quorum of [witness] has cosigned


class AnchorsFiles(_Strict, frozen=True, kw_only=True):
    """An earlier TrustAnchors document, for a signer that has none yet."""

    document: Place
    signatures: tuple[Place, ...]


class Signer(_Strict, frozen=True, kw_only=True):
    """`[signer]`: the process that holds tokens, log keys and marks."""

    socket: Place = "run/signer.sock"
    state: Place = "signer"  # directory of the marks and rejected-PIN tags; own user, another device if there is one
    users: tuple[Annotated[int, Meta(ge=0, le=(1 << 32) - 2)], ...] = ()  # uids that may connect besides our own
    leaf_age_s_max: Annotated[int, Meta(ge=1, le=300)] = 300
    clock_ahead_s_max: Positive = 2
    leaves_per_minute_max: Positive = 1_000_000_000
    leaves_per_advance_max: Annotated[int, Meta(ge=1, le=16_384)] = 2_048  # opened in one message; the same at serve
    anchors: NoPlace = ""  # TrustAnchors document: needed for the classes firmware and root, and to end a stop
    anchors_signatures: tuple[Place, ...] = ()  # files with its SSH signatures
    anchors_earlier: tuple[AnchorsFiles, ...] = ()  # versions 1, 2, … before it, read where none is pinned yet
    worker_backoff_ms: Positive = 500  # before a worker is replaced, and until an open slot is tried again; doubles
    worker_backoff_ms_max: Positive = 30_000


class Limits(_Strict, frozen=True, kw_only=True):
    """`[limits]`: everything is bounded."""

    message_bytes_max: Annotated[int, Meta(ge=1, le=1 << 30)] = 64 << 20
    digests_per_request_max: Positive = 100_000
    expand_items_max: Positive = 10_000
    name_bytes_max: Positive = 1_024
    content_bytes_max: Bytes = 8 << 30
    chunk_bytes_max: Positive = 1 << 20
    requests_pending_max: Annotated[int, Meta(ge=1, le=1 << 24)] = 8_192
    requests_pending_bytes_max: Bytes = 256 << 20  # of the journal, that they will take; each tenant may have one
    batch_items_max: Positive = 262_144
    batch_bytes_max: Annotated[int, Meta(ge=16 << 10, le=MOST)] = 16 << 20
    seal_pending_max: Positive = 4
    seals_per_line_max: Annotated[int, Meta(ge=1, le=8)] = 2  # under way: the next one waits at the token, not here
    line_wait_ms_max: Positive = 2_000  # of a direct line: whoever would wait longer for his turn is refused at once
    streams_per_connection_max: Annotated[int, Meta(ge=1, le=1 << 24)] = 128
    connections_max: Annotated[int, Meta(ge=1, le=1 << 20)] = 1_024
    stream_items_pending_max: Positive = 1_024  # of one stream, under way or not yet taken by its caller
    streams_items_pending_max: Positive = 16_384  # of all together; when they have as many, each may have its share
    connection_age_s: Annotated[int, Meta(ge=1, le=2_000_000)] = 3_600
    drain_ms_max: Positive = 30_000
    refusals_per_minute_max: Positive = 20


class JournalSection(_Strict, frozen=True, kw_only=True):
    """`[journal]`."""

    segment_bytes: Annotated[int, Meta(ge=64 << 10, le=1 << 30)] = 64 << 20
    # map: only where the file system keeps what is set aside (ext4, xfs); pwrite: anywhere, and a full disk may end the
    # log; auto: pwrite where map cannot be (dev and demo)
    write: Literal["auto", "map", "pwrite"] = "map"
    # of each log, journal and tree; 0: as much as the file system gives (tlog/space.py)
    space_bytes_max: Annotated[int, Meta(ge=0, le=1 << 50)] = 0
    release: Literal["leaf", "outcome"] = "leaf"
    outcome_delay_ms: Natural = 50  # how long outcomes wait for another batch to ride in


class CheckpointSection(_Strict, frozen=True, kw_only=True):
    """`[checkpoint]`: the published file."""

    interval_ms: Positive = 1_000


class WitnessSection(_Strict, frozen=True, kw_only=True):
    """`[witness]`: others who see to it that a log has one history (C2SP tlog-witness).

    The policy file (C2SP tlog-policy, verify/policy.py) names them with keys, quorum and, at `serve`, URLs; its `log`
    lines say which logs are witnessed, none of them: all. A witness that has seen another history stops the node.
    """

    policy: Place
    timeout_ms: Annotated[int, Meta(ge=1, le=60_000)] = 5_000  # of one call to one witness
    interval_ms: Positive = 1_000  # between rounds, for heads that no key waits for
    hold_s_max: Annotated[int, Meta(ge=1, le=240)] = 240  # a call waits so long for the quorum, then HOLD_TIMEOUT
    clock_ahead_s_max: Annotated[int, Meta(ge=0, le=300)] = 60  # how far a witness's clock may be ahead of ours


class Idempotency(_Strict, frozen=True, kw_only=True):
    """`[idempotency]`."""

    window_s: Positive = 86_400
    # In memory, 104 bytes each as they come: ids of segments without an index (some two), and of requests that are not
    # over. A last bound: beyond it the oldest is forgotten until its segment has its index.
    entries_max: Annotated[int, Meta(ge=1, le=1 << 31)] = 4_000_000


class ClockSection(_Strict, frozen=True, kw_only=True):
    """`[clock]`."""

    back_max_s: Natural = 5


class GovernanceSection(_Strict, frozen=True, kw_only=True):
    """`[governance]`: everything that decides comes from the governance log, beginning with the trust anchors.

    Without this section the policy file decides, and lines are of class `test` only (DECISIONS/0010). With it the
    policy file is not read, and every [key.<id>] has state = "governed".
    """

    deployment: Name  # must be that of the anchors
    anchors: Place = (
        "anchors.json"  # TrustAnchors document (verify/anchors.py): genesis, or the next version; see SIGHUP
    )
    signatures: tuple[Place, ...] = ()  # files with its officers' SSH signatures, namespace anchors@v1.sealpress
    veto: str = ""  # "package.module:function": sees each request that is allowed, and can only deny it
    webhook: str = ""  # "https://…": is told of each change that waits for approvers (rpc/webhook.py)


class Config(_Strict, frozen=True, kw_only=True):
    """The whole of `sealpress.toml`."""

    schema: Literal[1]
    node: Node
    listen: tuple[Listen, ...] = ()
    tls: Tls | None = None
    governance: GovernanceSection | None = None
    token: Token | None = None
    issuer: dict[str, IssuerSection] = {}
    log: Annotated[dict[str, LogSection], Meta(max_length=LOGS_MAX)] = {}
    slot: dict[str, SlotSection] = {}
    key: dict[str, KeySection] = {}
    signer: Signer = Signer()
    limits: Limits = Limits()
    journal: JournalSection = JournalSection()
    checkpoint: CheckpointSection = CheckpointSection()
    witness: WitnessSection | None = None
    idempotency: Idempotency = Idempotency()
    clock: ClockSection = ClockSection()


def load(path: Path) -> Config:
    """Read and decode the file; ConfigError names the file, the place and what is wrong."""
    try:
        text = read_whole(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give the configuration with --config FILE") from error
    try:
        found = msgspec.toml.decode(text, type=Config)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}", hint="every key is listed in sealpress/config.py") from error
    slots = {
        name: msgspec.structs.replace(slot, module=_module(path, slot.module)) for name, slot in found.slot.items()
    }
    return msgspec.structs.replace(found, slot=slots)


def check_address(where: str, address: str) -> None:
    """ConfigError unless it is host:port; without a host it would be every network of this machine."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > PORT_MAX:
        raise ConfigError(
            f"{where} {address!r}: not host:port",
            hint="0.0.0.0 or [::] is every address of this machine; port 0 picks a free one",
        )


def _module(base: Path, value: str) -> str:
    """A bare name is looked for where the system has its libraries."""
    return str(base.parent.resolve() / value) if "/" in value else value


def resolve(base: Path, value: str) -> Path:
    """A path of the file, relative to it."""
    return (base.parent / value).resolve() if value else Path()
