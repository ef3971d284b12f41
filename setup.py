"""What pyproject.toml cannot say: build the C core, and tag the wheel for the stable ABI."""

from setuptools import setup

setup(cffi_modules=["csrc/build_ffi.py:ffi"], options={"bdist_wheel": {"py_limited_api": "cp311"}})
