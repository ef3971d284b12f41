from sealpress.v1 import governance_pb2 as _governance_pb2
from sealpress.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReleaseItem(_message.Message):
    __slots__ = ("digest", "name", "version", "size")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    name: str
    version: str
    size: int
    def __init__(self, digest: _Optional[bytes] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class RequestGrantRequest(_message.Message):
    __slots__ = ("key", "release_id", "algorithm", "items", "ttl_s", "reason", "ticket", "security_version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    SECURITY_VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    release_id: str
    algorithm: _types_pb2.DigestAlgorithm
    items: _containers.RepeatedCompositeFieldContainer[ReleaseItem]
    ttl_s: int
    reason: str
    ticket: str
    security_version: int
    def __init__(self, key: _Optional[str] = ..., release_id: _Optional[str] = ..., algorithm: _Optional[_Union[_types_pb2.DigestAlgorithm, str]] = ..., items: _Optional[_Iterable[_Union[ReleaseItem, _Mapping]]] = ..., ttl_s: _Optional[int] = ..., reason: _Optional[str] = ..., ticket: _Optional[str] = ..., security_version: _Optional[int] = ...) -> None: ...

class RequestGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class SubmitManifestRequest(_message.Message):
    __slots__ = ("key", "release_id", "algorithm", "digests", "names", "sizes", "version", "ttl_s", "reason", "ticket", "security_version")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    SECURITY_VERSION_FIELD_NUMBER: _ClassVar[int]
    key: str
    release_id: str
    algorithm: _types_pb2.DigestAlgorithm
    digests: bytes
    names: _containers.RepeatedScalarFieldContainer[str]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    version: str
    ttl_s: int
    reason: str
    ticket: str
    security_version: int
    def __init__(self, key: _Optional[str] = ..., release_id: _Optional[str] = ..., algorithm: _Optional[_Union[_types_pb2.DigestAlgorithm, str]] = ..., digests: _Optional[bytes] = ..., names: _Optional[_Iterable[str]] = ..., sizes: _Optional[_Iterable[int]] = ..., version: _Optional[str] = ..., ttl_s: _Optional[int] = ..., reason: _Optional[str] = ..., ticket: _Optional[str] = ..., security_version: _Optional[int] = ...) -> None: ...

class SubmitManifestResponse(_message.Message):
    __slots__ = ("manifest_sha256", "grant")
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    manifest_sha256: bytes
    grant: Grant
    def __init__(self, manifest_sha256: _Optional[bytes] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("grant_id", "change_id", "key", "state", "missing", "manifest_sha256", "uses", "max_uses", "not_before", "not_after", "gates", "passed", "change_sha256")
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    MAX_USES_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    CHANGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    change_id: str
    key: str
    state: str
    missing: str
    manifest_sha256: bytes
    uses: int
    max_uses: int
    not_before: int
    not_after: int
    gates: _containers.RepeatedScalarFieldContainer[str]
    passed: _containers.RepeatedScalarFieldContainer[str]
    change_sha256: bytes
    def __init__(self, grant_id: _Optional[str] = ..., change_id: _Optional[str] = ..., key: _Optional[str] = ..., state: _Optional[str] = ..., missing: _Optional[str] = ..., manifest_sha256: _Optional[bytes] = ..., uses: _Optional[int] = ..., max_uses: _Optional[int] = ..., not_before: _Optional[int] = ..., not_after: _Optional[int] = ..., gates: _Optional[_Iterable[str]] = ..., passed: _Optional[_Iterable[str]] = ..., change_sha256: _Optional[bytes] = ...) -> None: ...

class GetGrantRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class WatchGrantRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchGrantResponse(_message.Message):
    __slots__ = ("grant",)
    GRANT_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class ReleaseSignaturesRequest(_message.Message):
    __slots__ = ("grant_id",)
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    def __init__(self, grant_id: _Optional[str] = ...) -> None: ...

class ReleaseSignaturesResponse(_message.Message):
    __slots__ = ("grant", "recorded")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    recorded: _governance_pb2.Recorded
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ..., recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...

class RevokeGrantRequest(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RevokeGrantResponse(_message.Message):
    __slots__ = ("recorded",)
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    recorded: _governance_pb2.Recorded
    def __init__(self, recorded: _Optional[_Union[_governance_pb2.Recorded, _Mapping]] = ...) -> None: ...
