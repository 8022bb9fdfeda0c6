# Everything happens inside .venv; the only things asked of the machine are Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SPACE  ?= search_spaces/w2v_layers.yaml
ARGS   ?=
# A GPU or a second BLAS thread never changes what the tests check.
export OMP_NUM_THREADS ?= 1

.PHONY: sweep test test-all gpu results env lint lock clean help

sweep: env  ## build the environment and run a sweep: make sweep SPACE=search_spaces/resnet_stages.yaml ARGS="--trials 8"
	$(BIN)/plastsearch sweep $(SPACE) $(ARGS)

test: env  ## build the environment and pass the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

test-all: env  ## the slow proofs, too: many kills, node faults, a thousand trials
	$(BIN)/python -m pytest $(ARGS)

gpu:  ## GPU tests and benchmarks with the Python and torch that are there, nothing installed: make gpu PYTHON=python3
	$(PYTHON) benchmarks/gpu.py $(ARGS)

results:  ## make benchmarks/RESULTS.md and gpu.md anew from benchmarks/results/*.json
	$(PYTHON) benchmarks/results.py

lint: env  ## ruff, import-linter, mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

env: $(VENV)/.installed  ## only build the environment

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "plastsearch needs Python >= 3.11; name one with: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --require-hashes --compile-bytecode -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --compile-bytecode --editable .
	@touch $@

lock:  ## compile requirements.lock anew (versions and hashes, no addresses)
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --annotation-style=line --quiet -o requirements.lock

clean:  ## remove the environment and what tools leave behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12
