from sealpress.v1 import governance_pb2 as _governance_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProposeIssuanceRequest(_message.Message):
    __slots__ = ("proposal",)
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    proposal: _governance_pb2.Proposal
    def __init__(self, proposal: _Optional[_Union[_governance_pb2.Proposal, _Mapping]] = ...) -> None: ...

class ProposeIssuanceResponse(_message.Message):
    __slots__ = ("change", "recorded")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    change: _governance_pb2.Change
    recorded: _governance_pb2.Recorded
    def __init__(self, change: _Optional[_Union[_governance_pb2.Change, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class GenerateKeyRequest(_message.Message):
    __slots__ = ("change_id", "report")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    report: bytes
    def __init__(self, change_id: _Optional[str] = ..., report: _Optional[bytes] = ...) -> None: ...

class GenerateKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class AdoptKeyRequest(_message.Message):
    __slots__ = ("change_id", "report")
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    report: bytes
    def __init__(self, change_id: _Optional[str] = ..., report: _Optional[bytes] = ...) -> None: ...

class AdoptKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class CertifyKeyRequest(_message.Message):
    __slots__ = ("key", "chain")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    key: str
    chain: bytes
    def __init__(self, key: _Optional[str] = ..., chain: _Optional[bytes] = ...) -> None: ...

class CertifyKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class ActivateKeyRequest(_message.Message):
    __slots__ = ("change_id",)
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    def __init__(self, change_id: _Optional[str] = ...) -> None: ...

class ActivateKeyResponse(_message.Message):
    __slots__ = ("key", "recorded")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    key: _governance_pb2.GovernedKey
    recorded: _governance_pb2.Recorded
    def __init__(self, key: _Optional[_Union[_governance_pb2.GovernedKey, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...
