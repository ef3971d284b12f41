from sealpress.v1 import governance_pb2 as _governance_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy", "sha256", "scheduled")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    sha256: bytes
    scheduled: _containers.RepeatedCompositeFieldContainer[ScheduledPolicy]
    def __init__(self, policy: _Optional[bytes] = ..., sha256: _Optional[bytes] = ..., scheduled: _Optional[_Iterable[_Union[ScheduledPolicy, _Mapping]]] = ...) -> None: ...

class ScheduledPolicy(_message.Message):
    __slots__ = ("change_id", "sha256", "effective")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    sha256: bytes
    effective: int
    def __init__(self, change_id: _Optional[str] = ..., sha256: _Optional[bytes] = ..., effective: _Optional[int] = ...) -> None: ...

class ValidatePolicyRequest(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    def __init__(self, policy: _Optional[bytes] = ...) -> None: ...

class ValidatePolicyResponse(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("level", "where", "code", "text")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    level: str
    where: str
    code: str
    text: str
    def __init__(self, level: _Optional[str] = ..., where: _Optional[str] = ..., code: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class DiffPolicyRequest(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    def __init__(self, policy: _Optional[bytes] = ...) -> None: ...

class DiffPolicyResponse(_message.Message):
    __slots__ = ("differences",)
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    differences: _containers.RepeatedCompositeFieldContainer[PolicyDifference]
    def __init__(self, differences: _Optional[_Iterable[_Union[PolicyDifference, _Mapping]]] = ...) -> None: ...

class PolicyDifference(_message.Message):
    __slots__ = ("line", "text", "loosening")
    LINE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOOSENING_FIELD_NUMBER: _ClassVar[int]
    line: str
    text: str
    loosening: bool
    def __init__(self, line: _Optional[str] = ..., text: _Optional[str] = ..., loosening: _Optional[bool] = ...) -> None: ...

class SimulatePolicyRequest(_message.Message):
    __slots__ = ("policy", "log", "from_seq", "limit")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    log: str
    from_seq: int
    limit: int
    def __init__(self, policy: _Optional[bytes] = ..., log: _Optional[str] = ..., from_seq: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class SimulatePolicyResponse(_message.Message):
    __slots__ = ("events", "changed", "truncated")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    events: int
    changed: _containers.RepeatedCompositeFieldContainer[ChangedDecision]
    truncated: bool
    def __init__(self, events: _Optional[int] = ..., changed: _Optional[_Iterable[_Union[ChangedDecision, _Mapping]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class ChangedDecision(_message.Message):
    __slots__ = ("log", "seq", "identity", "line", "before", "after")
    LOG_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    log: str
    seq: int
    identity: str
    line: str
    before: str
    after: str
    def __init__(self, log: _Optional[str] = ..., seq: _Optional[int] = ..., identity: _Optional[str] = ..., line: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class ProposePolicyRequest(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: _governance_pb2.Proposal
    def __init__(self, proposal: _Optional[_Union[_governance_pb2.Proposal, _Mapping]] = ...) -> None: ...

class ProposePolicyResponse(_message.Message):
    __slots__ = ("change", "recorded")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    change: _governance_pb2.Change
    recorded: _governance_pb2.Recorded
    def __init__(self, change: _Optional[_Union[_governance_pb2.Change, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...
