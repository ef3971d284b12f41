# One command per intent. Every target sets up what it needs: system packages (apt-get, as root or through sudo),
# the virtual environment .venv, the extension. What is there already is left alone, so a second run is fast.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PYTHON_HERE := $(VENV)/bin/python
READY := $(VENV)/.stamp-native
WHEEL := $(VENV)/.stamp-wheel
SANITIZED := build/sanitized
LINTED := daemon tests bench csrc setup.py
PROTOS := $(wildcard protos/sealpress/v1/*.proto)
NATIVE := setup.py csrc/build_ffi.py $(wildcard csrc/*.c csrc/*.h)
# google/rpc/status.proto comes with googleapis-common-protos, in the virtual environment
PROTOC = $(PYTHON_HERE) -m grpc_tools.protoc -Iprotos -I$$($(PYTHON_HERE) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

HISTORIES ?= 100000
MOMENTS ?= 400
FAILURES ?= 100
CYCLES ?= 1000
FLAPS ?= 200
MINUTES ?= 20
SEED ?= 1
JOBS ?= 5
PROCESSES ?= 2
NO_TEST := 5# how pytest ends where nothing was chosen
IMAGES ?= 5000000
RUNS ?= 10000000

.PHONY: help setup demo demo-governance wheel test large-file explain-large governance-start disk-full failing-disk \
    hsm-matrix flaps fleet-soak test-native test-arm crash flips test-sanitized governance-soak kill fuzz seeded lint \
    bench bench-tiny proto clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: $(READY) ## system packages, .venv, the extension; every other target does this by itself

demo: $(WHEEL) ## start everything in a temporary directory, sign real files, verify, tamper, explain
	$(VENV)/bin/sealpress demo

demo-governance: $(READY) ## officers, approvals, a firmware key from birth to end; everything a laboratory stand-in
	$(VENV)/bin/sealpress demo --governance

wheel: $(WHEEL) ## the package as one file for the stable ABI, in dist/

test: $(READY) .stamp-disks .stamp-modules ## the whole test suite: what measures time by itself, then a file a process, PROCESSES=2
	status=0; $(PYTHON_HERE) -m pytest -m timing $(PYTEST_ARGS) || status=$$?; \
	if [[ $$status -eq $(NO_TEST) ]]; then status=0; fi; \
	$(PYTHON_HERE) -m pytest -m "not timing" -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --benchmark-disable \
	    $(PYTEST_ARGS) || status=$$?; exit $$status

explain-large: $(READY) ## open and explain a log of ten million leaves, two million of them asked one by one; minutes, 4 GB
	SEALPRESS_LARGE_LEAVES=10000000 SEALPRESS_LARGE_UNARY=2000000 \
	    $(PYTHON_HERE) -m pytest tests/integration/test_large_log.py -o faulthandler_timeout=0 $(PYTEST_ARGS)

governance-start: $(READY) ## start after 100,000 facts of governance, from the snapshot file and without
	SEALPRESS_GOVERNANCE_FACTS=100000 $(PYTHON_HERE) -m pytest tests/integration/test_governance_start.py -s $(PYTEST_ARGS)

large-file: $(READY) ## hash one sparse file of 8 GiB within 200 MiB of memory
	SEALPRESS_LARGE_FILE_BYTES=8589934592 $(PYTHON_HERE) -m pytest tests/unit/core/test_files.py -k memory \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

disk-full: $(READY) .stamp-disks ## MOMENTS=400 times another process fills a small disk under a node at work; as root
	SEALPRESS_FULL_MOMENTS=$(MOMENTS) $(PYTHON_HERE) -m pytest tests/integration/test_full_disk.py -s \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

failing-disk: $(READY) .stamp-disks ## FAILURES=100 times a disk fails under a node at work, ext4 on nbdkit; as root
	SEALPRESS_FAILURES=$(FAILURES) $(PYTHON_HERE) -m pytest tests/integration/test_failing_disk.py -s \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

test-native: .stamp-system ## the C tests alone: plain, AddressSanitizer, UBSan; no Python
	$(MAKE) -s -C csrc test asan ubsan

test-arm: .stamp-arm ## the C tests for ARMv8, cross-compiled and run by an emulator; its tools take 550 MB
	$(MAKE) -s -C csrc arm

crash: $(READY) ## 5,000,000 simulated power cuts; IMAGES=n for others, about 4,000 a second
	SEALPRESS_CRASH_IMAGES=$(IMAGES) $(PYTHON_HERE) -m pytest tests/native/test_simulated.py -s -k power_cut \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

flips: $(READY) ## every flipped bit and every truncation of three logs; what may be repaired is, and goes on
	SEALPRESS_FLIPPED_LOGS=3 $(PYTHON_HERE) -m pytest tests/native/test_simulated.py -s -k flipped \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

test-sanitized: $(READY) ## the test suite on an extension built under AddressSanitizer and UBSan
	rm -rf $(SANITIZED)
	mkdir -p $(SANITIZED)
	git ls-files -z --cached --others --exclude-standard \
	    | tar --null --ignore-failed-read -cf - -T - 2>/dev/null | tar -xf - -C $(SANITIZED)
	cd $(SANITIZED) && SEALPRESS_SANITIZE=1 $(CURDIR)/$(PYTHON_HERE) setup.py -q build_ext --inplace
	cd $(SANITIZED) && env \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so):$$(gcc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:handle_sigbus=0:allow_user_segv_handler=1:suppressions=$(CURDIR)/tests/native/asan.supp \
	    UBSAN_OPTIONS=print_stacktrace=1 \
	    PYTHONPATH=$(CURDIR)/$(SANITIZED)/daemon PATH="$(CURDIR)/$(VENV)/bin:$$PATH" SEALPRESS_SANITIZED=1 \
	    $(CURDIR)/$(PYTHON_HERE) -m pytest -m "not timing and not slow" $(PYTEST_ARGS)

governance-soak: $(READY) ## the invariants of governance over 100,000 histories; HISTORIES=n for others, about 25 ms each
	SEALPRESS_GOVERNANCE_HISTORIES=$(HISTORIES) $(PYTHON_HERE) -m pytest tests/property/test_governance.py -s \
	    -k every_history -o faulthandler_timeout=0 $(PYTEST_ARGS)

kill: $(READY) ## kill -9 of a real node under load, 1,000 times; CYCLES=n for others, SEALPRESS_KILL_SEED=n to replay
	SEALPRESS_KILL_CYCLES=$(CYCLES) $(PYTHON_HERE) -m pytest tests/integration/test_kill.py -s \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

hsm-matrix: $(READY) ## 14 answers of a token x 6 functions x once, burst, persistent under a node at work: 252 cases, minutes
	SEALPRESS_HSM_CASES=252 $(PYTHON_HERE) -m pytest tests/integration/test_hsm_matrix.py -s \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

flaps: $(READY) ## a token that goes and comes 200 times: descriptors, sessions, memory; FLAPS=n for others
	FLAPS=$(FLAPS) $(PYTHON_HERE) -m pytest tests/integration/test_supervision.py -k flaps -s \
	    -o faulthandler_timeout=0 $(PYTEST_ARGS)

fleet-soak: $(READY) ## jobs, a farm, an auditor, and all that operators do to a node; MINUTES=20, SEED=1, JOBS=5 a second
	SEALPRESS_FLEET_MINUTES=$(MINUTES) SEALPRESS_FLEET_SEED=$(SEED) SEALPRESS_FLEET_JOBS_PER_S=$(JOBS) \
	    $(PYTHON_HERE) -m pytest tests/integration/test_fleet_soak.py -s -o faulthandler_timeout=0 $(PYTEST_ARGS)

fuzz: $(READY) .stamp-fuzz ## libFuzzer on every parser, 10,000,000 inputs each; RUNS=n for others
	$(PYTHON_HERE) -m pip install -q --disable-pip-version-check atheris
	$(MAKE) -s -C tests/fuzz all RUNS=$(RUNS) PYTHON=$(CURDIR)/$(PYTHON_HERE) BUILD=$(CURDIR)/build/fuzz

seeded: $(READY) ## bugs put in on purpose, one after the other: a table of those that the tests catch
	$(PYTHON_HERE) tests/seeded/seeding.py

lint: $(READY) .stamp-lint ## ruff, mypy, import rules, warnings as errors, generated code fresh
	$(VENV)/bin/ruff check $(LINTED)
	$(VENV)/bin/ruff format --check $(LINTED)
	$(VENV)/bin/mypy
	PYTHONPATH=daemon $(VENV)/bin/lint-imports
	$(MAKE) -s -C csrc all CC=$$(command -v clang || command -v gcc) BUILD=build/lint
	fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PROTOC) --python_out=$$fresh --pyi_out=$$fresh --grpc_python_out=$$fresh $(PROTOS) && \
	diff -r -x __init__.py -x __pycache__ $$fresh/sealpress/v1 daemon/sealpress/v1 || \
	{ echo "daemon/sealpress/v1 is not what protos/ says: run make proto" >&2; exit 1; }

bench: $(READY) ## every benchmark against its baseline; one table, bench/report.json, the plot; half an hour, 20 GiB of /tmp
	rm -f bench/report.json bench/run.json
	status=0; $(PYTHON_HERE) -m pytest bench --benchmark-only --benchmark-quiet -o faulthandler_timeout=0 \
	    $(PYTEST_ARGS) || status=$$?; \
	$(PYTHON_HERE) -m bench.report; exit $$status

bench-tiny: $(READY) ## the same code on tiny sizes: does it still run?
	SEALPRESS_BENCH=tiny $(PYTHON_HERE) -m pytest bench -q --benchmark-only --benchmark-quiet $(PYTEST_ARGS)

proto: $(READY) ## generate daemon/sealpress/v1 from protos/
	$(PROTOC) --python_out=daemon --pyi_out=daemon --grpc_python_out=daemon $(PROTOS)

clean: ## everything that make has made, but no system package
	rm -rf $(VENV) build dist csrc/build csrc/_native.c .stamp-* bench/report.json bench/run.json
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find daemon tests bench csrc -name __pycache__ -prune -exec rm -rf {} +
	find daemon -name '*.so' -delete
	rm -rf daemon/*.egg-info

.stamp-system: .ci/setup
	.ci/setup system
	@touch $@

.stamp-disks: .stamp-system
	.ci/setup disks
	@touch $@

.stamp-modules: .stamp-system
	.ci/setup modules
	@touch $@

.stamp-lint: .stamp-system
	.ci/setup lint
	@touch $@

.stamp-fuzz: .stamp-system
	.ci/setup fuzz
	@touch $@

.stamp-arm: .stamp-system
	.ci/setup arm
	@touch $@

# An environment made elsewhere or by another Python is not repaired but made again.
$(VENV)/.stamp-installed: pyproject.toml | .stamp-system
	[[ -x $(PYTHON_HERE) ]] && $(PYTHON_HERE) -c '' 2>/dev/null || { rm -rf $(VENV); "$$(.ci/setup python)" -m venv $(VENV); }
	$(PYTHON_HERE) -m pip install -q --disable-pip-version-check --upgrade pip setuptools wheel cffi
	$(PYTHON_HERE) -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[dev]'
	@touch $@

# Installing has built the extension once; after a change in csrc/ it is built again in place.
$(READY): $(VENV)/.stamp-installed $(NATIVE)
	$(PYTHON_HERE) setup.py -q build_ext --inplace
	@touch $@

# build/lib would carry files along that are gone from the sources.
$(WHEEL): $(READY) README.md LICENSE $(shell find daemon/sealpress -name '*.py' -o -name '*.[ch]')
	rm -rf build/lib dist
	$(PYTHON_HERE) -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@touch $@
