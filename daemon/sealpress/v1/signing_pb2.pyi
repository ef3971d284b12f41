from google.rpc import status_pb2 as _status_pb2
from sealpress.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SignRequest(_message.Message):
    __slots__ = ("request_id", "key", "digest", "artifact", "grant_id", "security_version")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    SECURITY_VERSION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    key: str
    digest: _types_pb2.Digest
    artifact: _types_pb2.Artifact
    grant_id: str
    security_version: int
    def __init__(self, request_id: _Optional[str] = ..., key: _Optional[str] = ..., digest: _Optional[_Union[_types_pb2.Digest, _Mapping]] = ..., artifact: _Optional[_Union[_types_pb2.Artifact, _Mapping]] = ..., grant_id: _Optional[str] = ..., security_version: _Optional[int] = ...) -> None: ...

class SignResponse(_message.Message):
    __slots__ = ("request_id", "event_id", "leaf_index", "proof", "signature", "opening", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    event_id: str
    leaf_index: int
    proof: bytes
    signature: bytes
    opening: bytes
    error: _status_pb2.Status
    def __init__(self, request_id: _Optional[str] = ..., event_id: _Optional[str] = ..., leaf_index: _Optional[int] = ..., proof: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., opening: _Optional[bytes] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class SignBatchRequest(_message.Message):
    __slots__ = ("request_id", "key", "algorithm", "digests", "names", "sizes", "grant_id", "security_version", "expand")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    SECURITY_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPAND_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    key: str
    algorithm: _types_pb2.DigestAlgorithm
    digests: bytes
    names: _containers.RepeatedScalarFieldContainer[str]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    grant_id: str
    security_version: int
    expand: bool
    def __init__(self, request_id: _Optional[str] = ..., key: _Optional[str] = ..., algorithm: _Optional[_Union[_types_pb2.DigestAlgorithm, str]] = ..., digests: _Optional[bytes] = ..., names: _Optional[_Iterable[str]] = ..., sizes: _Optional[_Iterable[int]] = ..., grant_id: _Optional[str] = ..., security_version: _Optional[int] = ..., expand: _Optional[bool] = ...) -> None: ...

class SignBatchResponse(_message.Message):
    __slots__ = ("request_id", "event_id", "first_leaf_index", "count", "tree_size", "opening", "salt_seed", "left", "right", "checkpoint", "proofs", "signatures")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_LEAF_INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    SALT_SEED_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    event_id: str
    first_leaf_index: int
    count: int
    tree_size: int
    opening: bytes
    salt_seed: bytes
    left: bytes
    right: bytes
    checkpoint: bytes
    proofs: _containers.RepeatedScalarFieldContainer[bytes]
    signatures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, request_id: _Optional[str] = ..., event_id: _Optional[str] = ..., first_leaf_index: _Optional[int] = ..., count: _Optional[int] = ..., tree_size: _Optional[int] = ..., opening: _Optional[bytes] = ..., salt_seed: _Optional[bytes] = ..., left: _Optional[bytes] = ..., right: _Optional[bytes] = ..., checkpoint: _Optional[bytes] = ..., proofs: _Optional[_Iterable[bytes]] = ..., signatures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SignContentRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: SignRequest
    chunk: bytes
    def __init__(self, header: _Optional[_Union[SignRequest, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[_types_pb2.Key]
    def __init__(self, keys: _Optional[_Iterable[_Union[_types_pb2.Key, _Mapping]]] = ...) -> None: ...

class GetKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class GetKeyResponse(_message.Message):
    __slots__ = ("key", "former")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FORMER_FIELD_NUMBER: _ClassVar[int]
    key: _types_pb2.Key
    former: _containers.RepeatedCompositeFieldContainer[_types_pb2.Key]
    def __init__(self, key: _Optional[_Union[_types_pb2.Key, _Mapping]] = ..., former: _Optional[_Iterable[_Union[_types_pb2.Key, _Mapping]]] = ...) -> None: ...
