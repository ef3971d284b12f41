"""Runs a Python target under atheris, which is libFuzzer for Python.

    python tests/fuzz/atheris_main.py <target> [libFuzzer's options and corpus directories]

One file fuzz_<target>.py with `one_input(data)` is one target; what it raises is a finding.
"""

from __future__ import annotations

import sys
from importlib import import_module

import atheris

with atheris.instrument_imports(include=["sealpress.verify", "sealpress.values"]):
    target = import_module(f"fuzz_{sys.argv.pop(1)}")

atheris.Setup(sys.argv, target.one_input)
atheris.Fuzz()
