from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Recorded(_message.Message):
    __slots__ = ("governance_seq", "log_size")
    GOVERNANCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    LOG_SIZE_FIELD_NUMBER: _ClassVar[int]
    governance_seq: int
    log_size: int
    def __init__(self, governance_seq: _Optional[int] = ..., log_size: _Optional[int] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("kind", "request", "reason", "risk", "rollback", "ticket")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    kind: str
    request: bytes
    reason: str
    risk: str
    rollback: str
    ticket: str
    def __init__(self, kind: _Optional[str] = ..., request: _Optional[bytes] = ..., reason: _Optional[str] = ..., risk: _Optional[str] = ..., rollback: _Optional[str] = ..., ticket: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("change_id", "kind", "line", "state", "summary", "record", "sha256", "approvals", "missing", "seq", "requester", "executor", "reason", "created", "expires", "grant_id", "rendering")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    RENDERING_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    kind: str
    line: str
    state: str
    summary: str
    record: bytes
    sha256: bytes
    approvals: _containers.RepeatedCompositeFieldContainer[Approval]
    missing: str
    seq: int
    requester: str
    executor: str
    reason: str
    created: int
    expires: int
    grant_id: str
    rendering: str
    def __init__(self, change_id: _Optional[str] = ..., kind: _Optional[str] = ..., line: _Optional[str] = ..., state: _Optional[str] = ..., summary: _Optional[str] = ..., record: _Optional[bytes] = ..., sha256: _Optional[bytes] = ..., approvals: _Optional[_Iterable[_Union[Approval, _Mapping]]] = ..., missing: _Optional[str] = ..., seq: _Optional[int] = ..., requester: _Optional[str] = ..., executor: _Optional[str] = ..., reason: _Optional[str] = ..., created: _Optional[int] = ..., expires: _Optional[int] = ..., grant_id: _Optional[str] = ..., rendering: _Optional[str] = ...) -> None: ...

class Approval(_message.Message):
    __slots__ = ("person", "credential", "statement", "signature", "groups", "state", "expires")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    person: str
    credential: str
    statement: bytes
    signature: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    state: str
    expires: int
    def __init__(self, person: _Optional[str] = ..., credential: _Optional[str] = ..., statement: _Optional[bytes] = ..., signature: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., expires: _Optional[int] = ...) -> None: ...

class GetChangeRequest(_message.Message):
    __slots__ = ("change_id",)
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    def __init__(self, change_id: _Optional[str] = ...) -> None: ...

class GetChangeResponse(_message.Message):
    __slots__ = ("change", "previous")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    change: Change
    previous: bytes
    def __init__(self, change: _Optional[_Union[Change, _Mapping]] = ..., previous: _Optional[bytes] = ...) -> None: ...

class ListChangesRequest(_message.Message):
    __slots__ = ("line", "kind", "state", "limit", "before_seq")
    LINE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    line: str
    kind: str
    state: str
    limit: int
    before_seq: int
    def __init__(self, line: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., limit: _Optional[int] = ..., before_seq: _Optional[int] = ...) -> None: ...

class ListChangesResponse(_message.Message):
    __slots__ = ("changes", "next_before_seq")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    next_before_seq: int
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., next_before_seq: _Optional[int] = ...) -> None: ...

class GetGovernanceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetGovernanceResponse(_message.Message):
    __slots__ = ("governance_seq", "deployment", "profile", "anchors_version", "policy_sha256", "keys", "identities", "bindings", "credentials", "issuers", "alerts")
    GOVERNANCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_SHA256_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    ISSUERS_FIELD_NUMBER: _ClassVar[int]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    governance_seq: int
    deployment: str
    profile: str
    anchors_version: int
    policy_sha256: bytes
    keys: _containers.RepeatedCompositeFieldContainer[GovernedKey]
    identities: _containers.RepeatedCompositeFieldContainer[GovernedIdentity]
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    issuers: _containers.RepeatedCompositeFieldContainer[TokenIssuer]
    alerts: int
    def __init__(self, governance_seq: _Optional[int] = ..., deployment: _Optional[str] = ..., profile: _Optional[str] = ..., anchors_version: _Optional[int] = ..., policy_sha256: _Optional[bytes] = ..., keys: _Optional[_Iterable[_Union[GovernedKey, _Mapping]]] = ..., identities: _Optional[_Iterable[_Union[GovernedIdentity, _Mapping]]] = ..., bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ..., issuers: _Optional[_Iterable[_Union[TokenIssuer, _Mapping]]] = ..., alerts: _Optional[int] = ...) -> None: ...

class GovernedKey(_message.Message):
    __slots__ = ("key", "line", "state", "public_state", "key_id", "spki", "algorithm", "mode", "format", "slot", "software_token", "origin", "not_before", "rotate_by", "not_after", "max_signatures", "signatures", "owner", "backup_owner", "trusts", "fleet_estimate", "operators", "since", "chain_sha256")
    KEY_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_STATE_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SPKI_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ROTATE_BY_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    MAX_SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    BACKUP_OWNER_FIELD_NUMBER: _ClassVar[int]
    TRUSTS_FIELD_NUMBER: _ClassVar[int]
    FLEET_ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_SHA256_FIELD_NUMBER: _ClassVar[int]
    key: str
    line: str
    state: str
    public_state: str
    key_id: bytes
    spki: str
    algorithm: str
    mode: str
    format: str
    slot: str
    software_token: bool
    origin: str
    not_before: int
    rotate_by: int
    not_after: int
    max_signatures: int
    signatures: int
    owner: str
    backup_owner: str
    trusts: _containers.RepeatedScalarFieldContainer[str]
    fleet_estimate: int
    operators: _containers.RepeatedScalarFieldContainer[str]
    since: int
    chain_sha256: str
    def __init__(self, key: _Optional[str] = ..., line: _Optional[str] = ..., state: _Optional[str] = ..., public_state: _Optional[str] = ..., key_id: _Optional[bytes] = ..., spki: _Optional[str] = ..., algorithm: _Optional[str] = ..., mode: _Optional[str] = ..., format: _Optional[str] = ..., slot: _Optional[str] = ..., software_token: _Optional[bool] = ..., origin: _Optional[str] = ..., not_before: _Optional[int] = ..., rotate_by: _Optional[int] = ..., not_after: _Optional[int] = ..., max_signatures: _Optional[int] = ..., signatures: _Optional[int] = ..., owner: _Optional[str] = ..., backup_owner: _Optional[str] = ..., trusts: _Optional[_Iterable[str]] = ..., fleet_estimate: _Optional[int] = ..., operators: _Optional[_Iterable[str]] = ..., since: _Optional[int] = ..., chain_sha256: _Optional[str] = ..., **kwargs) -> None: ...

class GovernedIdentity(_message.Message):
    __slots__ = ("identity", "kind", "state", "names", "owner", "line", "environment", "on_behalf_of", "expires")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    identity: str
    kind: str
    state: str
    names: _containers.RepeatedScalarFieldContainer[str]
    owner: str
    line: str
    environment: str
    on_behalf_of: str
    expires: int
    def __init__(self, identity: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., owner: _Optional[str] = ..., line: _Optional[str] = ..., environment: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., expires: _Optional[int] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("binding", "identity", "role", "line", "group", "state", "not_after")
    BINDING_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    binding: str
    identity: str
    role: str
    line: str
    group: str
    state: str
    not_after: int
    def __init__(self, binding: _Optional[str] = ..., identity: _Optional[str] = ..., role: _Optional[str] = ..., line: _Optional[str] = ..., group: _Optional[str] = ..., state: _Optional[str] = ..., not_after: _Optional[int] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("person", "fingerprint", "public", "application", "effective", "expires", "revoked")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    person: str
    fingerprint: str
    public: str
    application: str
    effective: int
    expires: int
    revoked: bool
    def __init__(self, person: _Optional[str] = ..., fingerprint: _Optional[str] = ..., public: _Optional[str] = ..., application: _Optional[str] = ..., effective: _Optional[int] = ..., expires: _Optional[int] = ..., revoked: _Optional[bool] = ...) -> None: ...

class TokenIssuer(_message.Message):
    __slots__ = ("issuer", "kind", "audience", "owner")
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    issuer: str
    kind: str
    audience: str
    owner: str
    def __init__(self, issuer: _Optional[str] = ..., kind: _Optional[str] = ..., audience: _Optional[str] = ..., owner: _Optional[str] = ...) -> None: ...
