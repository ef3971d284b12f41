from sealpress.v1 import governance_pb2 as _governance_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProposeAccessRequest(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: _governance_pb2.Proposal
    def __init__(self, proposal: _Optional[_Union[_governance_pb2.Proposal, _Mapping]] = ...) -> None: ...

class ProposeAccessResponse(_message.Message):
    __slots__ = ("change", "recorded")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    change: _governance_pb2.Change
    recorded: _governance_pb2.Recorded
    def __init__(self, change: _Optional[_Union[_governance_pb2.Change, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class SuspendIdentityRequest(_message.Message):
    __slots__ = ("identity", "reason")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    identity: str
    reason: str
    def __init__(self, identity: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SuspendIdentityResponse(_message.Message):
    __slots__ = ("recorded",)
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    recorded: _governance_pb2.Recorded
    def __init__(self, recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class OffboardIdentityRequest(_message.Message):
    __slots__ = ("identity", "reason")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    identity: str
    reason: str
    def __init__(self, identity: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class OffboardIdentityResponse(_message.Message):
    __slots__ = ("recorded",)
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    recorded: _governance_pb2.Recorded
    def __init__(self, recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class RevokeBindingRequest(_message.Message):
    __slots__ = ("binding", "reason")
    BINDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    binding: str
    reason: str
    def __init__(self, binding: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RevokeBindingResponse(_message.Message):
    __slots__ = ("recorded",)
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    recorded: _governance_pb2.Recorded
    def __init__(self, recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class RevokeCredentialRequest(_message.Message):
    __slots__ = ("fingerprint", "reason")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    reason: str
    def __init__(self, fingerprint: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RevokeCredentialResponse(_message.Message):
    __slots__ = ("recorded",)
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    recorded: _governance_pb2.Recorded
    def __init__(self, recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class GetRolesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRolesResponse(_message.Message):
    __slots__ = ("person", "bindings", "credentials")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    person: str
    bindings: _containers.RepeatedCompositeFieldContainer[_governance_pb2.Binding]
    credentials: _containers.RepeatedCompositeFieldContainer[_governance_pb2.Credential]
    def __init__(self, person: _Optional[str] = ..., bindings: _Optional[_Iterable[_Union[_governance_pb2.Binding, _Mapping]]] = ..., credentials: _Optional[_Iterable[_Union[_governance_pb2.Credential, _Mapping]]] = ...) -> None: ...
