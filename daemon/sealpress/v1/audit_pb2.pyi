from sealpress.v1 import governance_pb2 as _governance_pb2
from sealpress.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCheckpointRequest(_message.Message):
    __slots__ = ("log",)
    LOG_FIELD_NUMBER: _ClassVar[int]
    log: str
    def __init__(self, log: _Optional[str] = ...) -> None: ...

class GetCheckpointResponse(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    def __init__(self, checkpoint: _Optional[bytes] = ...) -> None: ...

class GetProofRequest(_message.Message):
    __slots__ = ("log", "leaf_index", "tree_size")
    LOG_FIELD_NUMBER: _ClassVar[int]
    LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    log: str
    leaf_index: int
    tree_size: int
    def __init__(self, log: _Optional[str] = ..., leaf_index: _Optional[int] = ..., tree_size: _Optional[int] = ...) -> None: ...

class GetProofResponse(_message.Message):
    __slots__ = ("tree_size", "leaf_hash", "path", "checkpoint")
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    tree_size: int
    leaf_hash: bytes
    path: bytes
    checkpoint: bytes
    def __init__(self, tree_size: _Optional[int] = ..., leaf_hash: _Optional[bytes] = ..., path: _Optional[bytes] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class GetConsistencyRequest(_message.Message):
    __slots__ = ("log", "old_size", "new_size")
    LOG_FIELD_NUMBER: _ClassVar[int]
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    log: str
    old_size: int
    new_size: int
    def __init__(self, log: _Optional[str] = ..., old_size: _Optional[int] = ..., new_size: _Optional[int] = ...) -> None: ...

class GetConsistencyResponse(_message.Message):
    __slots__ = ("new_size", "path", "checkpoint")
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    new_size: int
    path: bytes
    checkpoint: bytes
    def __init__(self, new_size: _Optional[int] = ..., path: _Optional[bytes] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("digest", "event_id", "signature_sha256")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_SHA256_FIELD_NUMBER: _ClassVar[int]
    digest: _types_pb2.Digest
    event_id: str
    signature_sha256: bytes
    def __init__(self, digest: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., event_id: _Optional[str] = ..., signature_sha256: _Optional[bytes] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[LogEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[LogEvent, _Mapping]]] = ...) -> None: ...

class LogEvent(_message.Message):
    __slots__ = ("log", "seq", "time_ns", "type", "first_leaf_index", "count", "json")
    LOG_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FIRST_LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    log: str
    seq: int
    time_ns: int
    type: str
    first_leaf_index: int
    count: int
    json: str
    def __init__(self, log: _Optional[str] = ..., seq: _Optional[int] = ..., time_ns: _Optional[int] = ..., type: _Optional[str] = ..., first_leaf_index: _Optional[int] = ..., count: _Optional[int] = ..., json: _Optional[str] = ...) -> None: ...

class TailRequest(_message.Message):
    __slots__ = ("log", "from_seq", "follow")
    LOG_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    log: str
    from_seq: int
    follow: bool
    def __init__(self, log: _Optional[str] = ..., from_seq: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class TailResponse(_message.Message):
    __slots__ = ("event", "next_seq")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    event: LogEvent
    next_seq: int
    def __init__(self, event: _Optional[_Union[LogEvent, _Mapping]] = ..., next_seq: _Optional[int] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("node", "version", "signer_up", "slots", "lines", "logs", "certificate_not_after")
    NODE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNER_UP_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    node: str
    version: str
    signer_up: bool
    slots: _containers.RepeatedCompositeFieldContainer[SlotStatus]
    lines: _containers.RepeatedCompositeFieldContainer[LineStatus]
    logs: _containers.RepeatedCompositeFieldContainer[LogStatus]
    certificate_not_after: int
    def __init__(self, node: _Optional[str] = ..., version: _Optional[str] = ..., signer_up: _Optional[bool] = ..., slots: _Optional[_Iterable[_Union[SlotStatus, _Mapping]]] = ..., lines: _Optional[_Iterable[_Union[LineStatus, _Mapping]]] = ..., logs: _Optional[_Iterable[_Union[LogStatus, _Mapping]]] = ..., certificate_not_after: _Optional[int] = ...) -> None: ...

class SlotStatus(_message.Message):
    __slots__ = ("slot", "up", "sessions", "operations", "restarts", "reason", "state", "opened", "waiting", "latency_us", "unmanaged_keys", "differing_keys")
    class DifferingKeysEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SLOT_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    UNMANAGED_KEYS_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_KEYS_FIELD_NUMBER: _ClassVar[int]
    slot: str
    up: bool
    sessions: int
    operations: int
    restarts: int
    reason: str
    state: str
    opened: int
    waiting: int
    latency_us: int
    unmanaged_keys: _containers.RepeatedScalarFieldContainer[str]
    differing_keys: _containers.ScalarMap[str, str]
    def __init__(self, slot: _Optional[str] = ..., up: _Optional[bool] = ..., sessions: _Optional[int] = ..., operations: _Optional[int] = ..., restarts: _Optional[int] = ..., reason: _Optional[str] = ..., state: _Optional[str] = ..., opened: _Optional[int] = ..., waiting: _Optional[int] = ..., latency_us: _Optional[int] = ..., unmanaged_keys: _Optional[_Iterable[str]] = ..., differing_keys: _Optional[_Mapping[str, str]] = ...) -> None: ...

class LineStatus(_message.Message):
    __slots__ = ("line", "mode", "log", "ready", "reason")
    LINE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    line: str
    mode: str
    log: str
    ready: bool
    reason: str
    def __init__(self, line: _Optional[str] = ..., mode: _Optional[str] = ..., log: _Optional[str] = ..., ready: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class LogStatus(_message.Message):
    __slots__ = ("log", "origin", "tree_size", "sealed_size", "queue", "free_bytes", "journal_bytes")
    LOG_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    SEALED_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOURNAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    log: str
    origin: str
    tree_size: int
    sealed_size: int
    queue: int
    free_bytes: int
    journal_bytes: int
    def __init__(self, log: _Optional[str] = ..., origin: _Optional[str] = ..., tree_size: _Optional[int] = ..., sealed_size: _Optional[int] = ..., queue: _Optional[int] = ..., free_bytes: _Optional[int] = ..., journal_bytes: _Optional[int] = ...) -> None: ...

class WhoCanSignRequest(_message.Message):
    __slots__ = ("key", "environment")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    key: str
    environment: str
    def __init__(self, key: _Optional[str] = ..., environment: _Optional[str] = ...) -> None: ...

class WhoCanSignResponse(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LineAccess]
    def __init__(self, lines: _Optional[_Iterable[_Union[LineAccess, _Mapping]]] = ...) -> None: ...

class LineAccess(_message.Message):
    __slots__ = ("line", "active_key", "rights", "paths", "bindings", "open_grants")
    LINE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_KEY_FIELD_NUMBER: _ClassVar[int]
    RIGHTS_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    OPEN_GRANTS_FIELD_NUMBER: _ClassVar[int]
    line: str
    active_key: str
    rights: _containers.RepeatedCompositeFieldContainer[Right]
    paths: _containers.RepeatedCompositeFieldContainer[RequiredPath]
    bindings: _containers.RepeatedCompositeFieldContainer[_governance_pb2.Binding]
    open_grants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, line: _Optional[str] = ..., active_key: _Optional[str] = ..., rights: _Optional[_Iterable[_Union[Right, _Mapping]]] = ..., paths: _Optional[_Iterable[_Union[RequiredPath, _Mapping]]] = ..., bindings: _Optional[_Iterable[_Union[_governance_pb2.Binding, _Mapping]]] = ..., open_grants: _Optional[_Iterable[str]] = ..., **kwargs) -> None: ...

class Right(_message.Message):
    __slots__ = ("line", "rule", "who", "conditions", "quorum", "constraint", "gates")
    LINE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    line: str
    rule: str
    who: str
    conditions: _containers.RepeatedScalarFieldContainer[str]
    quorum: int
    constraint: str
    gates: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, line: _Optional[str] = ..., rule: _Optional[str] = ..., who: _Optional[str] = ..., conditions: _Optional[_Iterable[str]] = ..., quorum: _Optional[int] = ..., constraint: _Optional[str] = ..., gates: _Optional[_Iterable[str]] = ..., **kwargs) -> None: ...

class RequiredPath(_message.Message):
    __slots__ = ("path", "quorum", "groups", "min_groups", "must_include", "credential")
    PATH_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    MIN_GROUPS_FIELD_NUMBER: _ClassVar[int]
    MUST_INCLUDE_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    path: str
    quorum: int
    groups: _containers.RepeatedScalarFieldContainer[str]
    min_groups: int
    must_include: _containers.RepeatedScalarFieldContainer[str]
    credential: str
    def __init__(self, path: _Optional[str] = ..., quorum: _Optional[int] = ..., groups: _Optional[_Iterable[str]] = ..., min_groups: _Optional[int] = ..., must_include: _Optional[_Iterable[str]] = ..., credential: _Optional[str] = ...) -> None: ...

class WhatCanSignRequest(_message.Message):
    __slots__ = ("identity",)
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    identity: str
    def __init__(self, identity: _Optional[str] = ...) -> None: ...

class WhatCanSignResponse(_message.Message):
    __slots__ = ("identity", "state", "names", "rights", "bindings", "open_grants")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    RIGHTS_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    OPEN_GRANTS_FIELD_NUMBER: _ClassVar[int]
    identity: str
    state: str
    names: _containers.RepeatedScalarFieldContainer[str]
    rights: _containers.RepeatedCompositeFieldContainer[Right]
    bindings: _containers.RepeatedCompositeFieldContainer[_governance_pb2.Binding]
    open_grants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, identity: _Optional[str] = ..., state: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., rights: _Optional[_Iterable[_Union[Right, _Mapping]]] = ..., bindings: _Optional[_Iterable[_Union[_governance_pb2.Binding, _Mapping]]] = ..., open_grants: _Optional[_Iterable[str]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("kind", "from_seq", "limit")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    from_seq: int
    limit: int
    def __init__(self, kind: _Optional[str] = ..., from_seq: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_seq")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[LogEvent]
    next_seq: int
    def __init__(self, events: _Optional[_Iterable[_Union[LogEvent, _Mapping]]] = ..., next_seq: _Optional[int] = ...) -> None: ...
