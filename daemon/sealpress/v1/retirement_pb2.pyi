from sealpress.v1 import governance_pb2 as _governance_pb2
from sealpress.v1 import grant_pb2 as _grant_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProposeRetirementRequest(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: _governance_pb2.Proposal
    def __init__(self, proposal: _Optional[_Union[_governance_pb2.Proposal, _Mapping]] = ...) -> None: ...

class ProposeRetirementResponse(_message.Message):
    __slots__ = ("change", "recorded")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    change: _governance_pb2.Change
    recorded: _governance_pb2.Recorded
    def __init__(self, change: _Optional[_Union[_governance_pb2.Change, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class SuspendKeyRequest(_message.Message):
    __slots__ = ("key", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: str
    reason: str
    def __init__(self, key: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SuspendKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class DeactivateKeyRequest(_message.Message):
    __slots__ = ("change_id",)
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    def __init__(self, change_id: _Optional[str] = ...) -> None: ...

class DeactivateKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class DestroyKeyRequest(_message.Message):
    __slots__ = ("change_id", "witnesses")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    witnesses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, change_id: _Optional[str] = ..., witnesses: _Optional[_Iterable[str]] = ...) -> None: ...

class DestroyKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class GetImpactRequest(_message.Message):
    __slots__ = ("key", "since")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    key: str
    since: int
    def __init__(self, key: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...

class GetImpactResponse(_message.Message):
    __slots__ = ("since", "events", "truncated")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    since: int
    events: _containers.RepeatedCompositeFieldContainer[Impact]
    truncated: bool
    def __init__(self, since: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Impact, _Mapping]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class Impact(_message.Message):
    __slots__ = ("log", "seq", "time_ns", "event_id", "identity", "grant_id", "first_leaf_index", "count", "algorithm", "digests")
    LOG_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    log: str
    seq: int
    time_ns: int
    event_id: str
    identity: str
    grant_id: str
    first_leaf_index: int
    count: int
    algorithm: str
    digests: bytes
    def __init__(self, log: _Optional[str] = ..., seq: _Optional[int] = ..., time_ns: _Optional[int] = ..., event_id: _Optional[str] = ..., identity: _Optional[str] = ..., grant_id: _Optional[str] = ..., first_leaf_index: _Optional[int] = ..., count: _Optional[int] = ..., algorithm: _Optional[str] = ..., digests: _Optional[bytes] = ...) -> None: ...
