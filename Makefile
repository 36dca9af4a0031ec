# make demo    train a small U-Net with the boundary loss
# make test    the whole test suite, on every provider that works here
#
# Both create the environment they need in $(VENV). See `make help`.

PYTHON ?= python3
VENV ?= .venv
# More arguments for the command that a target runs: make test ARGS="-k edt -x", make demo ARGS="--epochs 2"
ARGS ?=
LEVELS ?= baseline v3 v4

PY = $(VENV)/bin/python
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-levels lint wheel bench bench-compare asan env build clean distclean

help:
	@echo "make demo          train a small U-Net with the boundary loss on real lesions"
	@echo "make test          the whole test suite, on every provider that works here"
	@echo "make test-levels   the extension's tests on each x86-64 level this processor has"
	@echo "make asan          a selection of them under AddressSanitizer and UBSan"
	@echo "make lint          ruff and mypy"
	@echo "make wheel         a wheel, in dist/"
	@echo "make bench         fastdist against the other libraries, one thread, at most ten minutes"
	@echo "make bench-compare BASE=old.json   what got slower since; NEW= another than the newest"
	@echo "make build         compile csrc/ again, what has changed of it"
	@echo "make clean         what was built; make distclean: the environment too"
	@echo
	@echo "PYTHON=$(PYTHON)  the interpreter to create the environment with (3.10 or newer)"
	@echo "VENV=$(VENV)      the environment; one that exists and has torch is used as it is"
	@echo "ARGS=             more arguments: make test ARGS='-k edt -x'"
	@echo "FASTDIST_CUDA=0|1|auto, TORCH_CUDA_ARCH_LIST, CXX, MAX_JOBS: see scripts/compile_extension.py"

env:
	@scripts/make_env.sh $(VENV) $(PYTHON) dev

build: env

demo:
	@scripts/make_env.sh $(VENV) $(PYTHON) demo
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
	        $(wildcard tests/test_edt*.py tests/test_labels*.py tests/test_signed*.py \
	            tests/test_indices*.py tests/test_losses*.py tests/test_errors*.py) $(ARGS); \
	done

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
	@test -n "$(BASE)" || { echo "make bench-compare BASE=results.json: the run to compare with"; exit 2; }
	$(PY) -m benchmarks.compare $(BASE) $(NEW)

asan: env
	PY=$(PY) scripts/asan.sh $(ARGS)

clean:
	rm -rf build dist *.egg-info fastdist/_extension.so fastdist/_extension_missing.txt
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
