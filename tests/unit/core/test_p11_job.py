"""Are jobs packed as the compiler lays them out?"""

from __future__ import annotations

from sealpress.core import p11
from sealpress.core._native import ffi

FIELDS = (
    "key", "mechanism", "parameter", "data", "data_size", "signature", "signature_capacity", "signature_size",
    "session", "may_have_signed", "rv", "elapsed_ns",
)  # fmt: skip


def test_each_field_of_a_job_stands_where_c_looks_for_it() -> None:
    """Twelve numbers, packed as a job, are found by the names of sp_api.h."""
    packed = p11._JOB.pack(*range(1, 13))
    job = ffi.cast("sp_p11_job *", ffi.from_buffer(packed))

    assert [int(ffi.cast("uintptr_t", getattr(job, name))) for name in FIELDS] == list(range(1, 13))
