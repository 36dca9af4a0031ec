# make demo    train a small U-Net with the boundary loss
# make test    the whole test suite, on every provider that works here
#
# Both create the environment they need in $(VENV). See `make help`.

PYTHON ?= python3
VENV ?= .venv
# More arguments for the command that a target runs: make test ARGS="-k edt -x", make demo ARGS="--epochs 2"
ARGS ?=
LEVELS ?= baseline v3 v4
GPU_STAGES = gpu-measure gpu-test gpu-inspect

PY = $(VENV)/bin/python
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: gpu $(GPU_STAGES) gpu-keep
# The provider's own tests, and those that are its specification.
KERNEL_TESTS = $(wildcard tests/test_edt*.py tests/test_labels*.py tests/test_signed*.py tests/test_indices*.py)
PROVIDER_TESTS = $(KERNEL_TESTS) $(wildcard tests/test_losses*.py tests/test_errors*.py tests/test_arrays.py \
    tests/test_scipy_api.py tests/test_ops.py tests/test_real_maps.py tests/test_determinism.py)
EMULATED = FASTDIST_REQUIRE_EXTENSION=0 FASTDIST_TEST_PROVIDERS=emulator $(PY) -m pytest -q -m "not slow" -p no:cacheprovider

.PHONY: help demo test test-levels lint wheel bench bench-compare asan emulator emulator-asan emulator-full ptx ptx-translated ptx-bites kernels-check env build clean distclean

help:
	@echo "make demo          train a small U-Net with the boundary loss on real lesions"
	@echo "make test          the whole test suite, on every provider that works here"
	@echo "make test-levels   the extension's tests on each x86-64 level this processor has"
	@echo "make asan          a selection of them under AddressSanitizer and UBSan"
	@echo "make emulator      the CUDA kernels on the CPU; emulator-asan, emulator-full: more of it"
	@echo "make ptx           what nvcc makes of them, executed on the CPU; ARCH=\"7.5 9.0\""
	@echo "make gpu           what a GPU can prove, in three stages of at most nine minutes: $(GPU_STAGES)"
	@echo "make gpu-keep      its results into benchmarks/results/. See docs/gpu.md"
	@echo "make kernels-check the CUDA compiler's report: no kernel spills a register"
	@echo "make lint          ruff and mypy"
	@echo "make wheel         a wheel, in dist/"
	@echo "make bench         fastdist against the other libraries, one thread, at most ten minutes"
	@echo "make bench-compare BASE=old.json   what got slower since (BASE=\"a.json b.json\": than in both)"
	@echo "make build         compile csrc/ again, what has changed of it"
	@echo "make clean         what was built; make distclean: the environment too"
	@echo
	@echo "PYTHON=$(PYTHON)  the interpreter to create the environment with (3.10 or newer)"
	@echo "VENV=$(VENV)      the environment; one that exists and has torch is used as it is"
	@echo "REHEARSE=1        the stages of make gpu without a GPU; RESULTS=dir: where their results go"
	@echo "ARGS=             more arguments: make test ARGS='-k edt -x'"
	@echo "FASTDIST_CUDA=0|1|auto|keep, TORCH_CUDA_ARCH_LIST, CXX, MAX_JOBS: see scripts/compile_extension.py"

env:
	@scripts/make_env.sh $(VENV) $(PYTHON) dev

build: env

# The demo is content with the library that is there, and without a GPU needs no CUDA kernels, which take nvcc minutes:
# `make test` compiles them.
demo:
	@FASTDIST_CUDA=$${FASTDIST_CUDA:-keep} scripts/make_env.sh $(VENV) $(PYTHON) demo
	$(PY) -m examples.lesions $(ARGS)

test: env
	$(PY) -m pytest tests $(ARGS)

test-levels: env
	@for level in $(LEVELS); do \
	    export FASTDIST_CPU_LEVEL=$$level; \
	    if ! answer=$$($(PY) scripts/smoke.py 2>&1); then \
	        case $$answer in \
	            *FASTDIST_CPU_LEVEL*) echo "== $$level: not on this processor"; continue;; \
	            *) echo "$$answer"; exit 1;; \
	        esac; \
	    fi; \
	    echo "== $$level"; \
	    FASTDIST_TEST_PROVIDERS=extension $(PY) -m pytest -q -m "not slow" \
	        $(KERNEL_TESTS) $(wildcard tests/test_losses*.py tests/test_errors*.py) $(ARGS); \
	done

# The CUDA compiler's report of the last build, for these architectures; others are compiled for it.
ARCHITECTURES ?= 7.5 8.0 9.0 12.0
kernels-check: env
	$(PY) scripts/kernel_report.py --check --arch $(ARCHITECTURES)

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

wheel: env
	rm -rf dist
	PIP_CONSTRAINT=$(VENV)/constraints.txt $(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PY) scripts/abi_audit.py dist/*.whl

bench: env
	@$(PY) -m pip install --quiet --no-deps -c constraints.txt exacta || \
	    echo "exacta has no wheel for this Python: measured without it"
	$(PY) -m benchmarks $(ARGS)
	$(PY) -m benchmarks.plot

bench-compare: env
	@test -n "$(BASE)" || { echo "make bench-compare BASE=results.json: the run to compare with, or several"; exit 2; }
	$(PY) -m benchmarks.compare $(BASE) $(if $(NEW),--new $(NEW))

# With the Python and torch that are there, on a machine that need not have a network: no env.
gpu $(GPU_STAGES) gpu-keep: export REHEARSE := $(REHEARSE)
gpu $(GPU_STAGES) gpu-keep: export RESULTS := $(RESULTS)
gpu:
	@$(PYTHON) scripts/gpu/stages.py $(GPU_STAGES:gpu-%=%) $(ARGS)

$(GPU_STAGES): gpu-%:
	@$(PYTHON) scripts/gpu/stages.py $* $(ARGS)

gpu-keep:
	@$(PYTHON) scripts/gpu/keep.py $(ARGS)

asan: env
	PY=$(PY) scripts/asan.sh extension $(ARGS)

# The CUDA kernels' own source on the CPU (csrc/emulator): all tests of a provider; then columns that do not fit into shared
# memory, with blocks and threads in reverse.
emulator: env
	$(PY) scripts/compile_emulator.py
	FASTDIST_EMULATOR_SCHEDULE=forward $(EMULATED) $(PROVIDER_TESTS) tests/test_emulator_ops.py tests/test_emulator_pairs.py $(ARGS)
	FASTDIST_EMULATOR_SCHEDULE=reverse FASTDIST_EMULATOR_SHARED_BYTES=8192 $(EMULATED) $(KERNEL_TESTS) $(ARGS)

emulator-asan: env
	PY=$(PY) scripts/asan.sh emulator $(ARGS)

# The same under every schedule, but for large images, in reverse without the instructions for pairs, as before sm_90; every op with
# shared memory and stacks checked at every switch as well. The losses need 10 KB of shared memory. Twenty minutes.
emulator-full: emulator emulator-asan
	for schedule in forward reverse shuffled; do \
	    for bytes in 12288 232448; do \
	        FASTDIST_EMULATOR_SCHEDULE=$$schedule FASTDIST_EMULATOR_SHARED_BYTES=$$bytes \
	            FASTDIST_EMULATOR_PAIRS=$$(test $$schedule = reverse && echo 0 || echo 1) \
	            $(EMULATED) $(filter-out tests/test_determinism.py,$(PROVIDER_TESTS)) tests/test_fuzz.py $(ARGS); \
	    done; \
	done
	FASTDIST_EMULATOR_CHECK=1 $(EMULATED) tests/test_emulator_ops.py $(ARGS)

# What nvcc makes of the CUDA kernels, its PTX, executed on the CPU with races, bounds and alignment watched (tools/ptx): mistakes
# planted into it; then, an architecture a process, all tests of a provider, and every call of tests/cuda_calls.py against the
# extension's bits, once more in reverse with columns that do not fit. Of others the PTX is translated only.
ARCH ?= 7.5 9.0
TRANSLATED ?= 8.0 8.6 8.9 10.0 12.0
EXECUTED = FASTDIST_REQUIRE_EXTENSION=0 FASTDIST_TEST_PROVIDERS=ptx $(PY) -m pytest -q -m "not slow" -p no:cacheprovider
ptx: env
	$(PY) scripts/compile_ptx.py --arch $(ARCH)
	@$(MAKE) --no-print-directory -j2 --output-sync=target ptx-translated ptx-bites $(addprefix ptx-executed-,$(ARCH))

ptx-translated:
	$(PY) scripts/compile_ptx.py --arch $(TRANSLATED) --output build/ptx/translated.so
	$(PY) -m fastdist.providers.ptx --library build/ptx/translated.so --arch $(TRANSLATED)

ptx-bites:
	FASTDIST_PTX_ARCH=$(lastword $(ARCH)) FASTDIST_PTX_ARCHS="$(ARCH)" $(PY) -m pytest -q -p no:cacheprovider \
	    tests/test_ptx.py tests/test_ptx_bites.py

ptx-executed-%: export FASTDIST_PTX_ARCH = $*
ptx-executed-%:
	$(EXECUTED) -k "not hardly_grows" $(filter-out tests/test_determinism.py,$(PROVIDER_TESTS)) tests/test_ptx_ops.py $(ARGS)
	FASTDIST_PTX_SCHEDULE=reverse FASTDIST_PTX_SHARED_BYTES=12288 $(EXECUTED) tests/test_ptx_ops.py

clean:
	rm -rf build dist *.egg-info fastdist/_extension.so fastdist/_extension_missing.txt
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
