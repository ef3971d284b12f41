"""The one thing that pyproject.toml cannot say: build the C core."""

from setuptools import setup

setup(cffi_modules=["csrc/build_ffi.py:ffi"])
