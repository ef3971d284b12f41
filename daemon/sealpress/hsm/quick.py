"""The one message between guard and worker that a seal needs, in a layout that the worker's C core reads and answers.

One operation, one signature: sp_api.h has the layouts (sp_p11_desk). Anything else between the two is a frame
(work.py), and so is the answer to such an ask where it is no signature.

Guarantees: a packet that begins as an ask or an answer and is none is Malformed; a frame's first packet begins as
neither. Does not: hold anything that a frame of the same meaning does not.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from sealpress.errors import Malformed
from sealpress.hsm import work as w

_ASK = struct.Struct("<8sQQQQIIIIII")
_ANSWER = struct.Struct("<8sQQII")
_ASK_MAGIC = b"SPASK\0\0\1"
_ANSWER_MAGIC = b"SPSIG\0\0\1"
DATA_BYTES_MAX = 64 << 10  # of data and message: then it is one packet


def ask(sign: w.WorkerSign, numbers: Mapping[str, int]) -> bytes | None:
    """The packet that says the same; None if it has to be a frame. `numbers`: of the keys the worker opened."""
    (job, *more), whole = sign.jobs, sign.jobs[0].whole
    number = numbers.get(job.key)
    mechanism, message = (whole.mechanism, whole.message) if whole is not None else (0, b"")
    if more or number is None or len(job.data) + len(message) > DATA_BYTES_MAX:
        return None
    head = _ASK.pack(
        _ASK_MAGIC, sign.id, sign.deadline_ns, job.mechanism, mechanism,
        number, job.parameter, job.size, len(job.data), len(message), 0,
    )  # fmt: skip
    return head + job.data + message


def asked(packet: memoryview, keys: Sequence[w.WorkerKey]) -> w.WorkerSign | None:
    """What an ask says; None if the packet is a frame."""
    if packet[:8] != _ASK_MAGIC:
        return None
    if len(packet) < _ASK.size:
        raise Malformed("an ask has no head")
    _, id_, deadline_ns, mechanism, hashing, number, parameter, size, length, rest, zero = _ASK.unpack_from(packet)
    if number >= len(keys) or zero or _ASK.size + length + rest != len(packet):
        raise Malformed("an ask is not what its head says")
    data, message = packet[_ASK.size : _ASK.size + length].tobytes(), packet[_ASK.size + length :].tobytes()
    whole = w.Whole(hashing, message) if hashing else None
    return w.WorkerSign(id_, (w.WorkerJob(keys[number].name, mechanism, parameter, size, data, whole),), deadline_ns)


def answered(packet: memoryview, sessions: int) -> w.WorkerSigned | None:
    """What an answer says, with as many sessions as there were; None if the packet is a frame, or part of one."""
    if packet[:8] != _ANSWER_MAGIC:
        return None
    if len(packet) < _ANSWER.size:
        raise Malformed("an answer has no head")
    _, id_, elapsed_ns, size, zero = _ANSWER.unpack_from(packet)
    if zero or _ANSWER.size + size != len(packet):
        raise Malformed("an answer is not what its head says")
    return w.WorkerSigned(id_, (w.WorkerResult(packet[_ANSWER.size :].tobytes(), 0, elapsed_ns, True),), sessions)
