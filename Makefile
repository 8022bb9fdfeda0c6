# Everything happens inside .venv; the only things asked of the machine are Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SPACE  ?= search_spaces/w2v_layers.yaml
ARGS   ?=
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--annotation-style=line --quiet
# What the wheels of torch bring for GPUs.
CUDA = nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*|triton
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' plastsearch/version.py)
BUILDER ?= docker
RELEASE ?= Unreleased
# A GPU or a second BLAS thread never changes what the tests check.
export OMP_NUM_THREADS ?= 1

.PHONY: sweep test test-all gpu results site env lint lock lock-torch-cpu dist fresh notes images clean help

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

site: env  ## build the documentation as web pages into build/site, without warnings and without anything from outside
	$(BIN)/python docs/make_site.py

lint: env  ## ruff, import-linter, mypy, hadolint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/hadolint k8s/images/*.Dockerfile

env: $(VENV)/.installed  ## only build the environment

$(VENV)/.installed: requirements-dev.lock requirements-build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "plastsearch needs Python >= 3.11; name one with: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --require-hashes --compile-bytecode -r requirements-dev.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --compile-bytecode --editable .
	@touch $@

lock:  ## compile the locks anew (versions and hashes, no addresses)
	$(COMPILE) pyproject.toml --extra cluster --extra server --extra onnx --group dev -o requirements-dev.lock
	cp requirements-dev.lock requirements.lock  # what a lock holds is kept, so both agree
	$(COMPILE) pyproject.toml --extra cluster -o requirements.lock
	cp requirements-dev.lock requirements-server.lock
	$(COMPILE) pyproject.toml --extra cluster --extra server --no-emit-package torch \
		$$(grep -oE '^($(CUDA))=' requirements.lock | sed 's/=//; s/^/--no-emit-package /') -o requirements-server.lock
	cp requirements-dev.lock requirements-build.lock
	$(COMPILE) --group build -o requirements-build.lock

lock-torch-cpu:  ## compile requirements-torch-cpu.lock anew: needs PyTorch's own index, of which uv knows the address
	grep -oE '^torch==[0-9.]+' requirements.lock | $(COMPILE) - --no-deps --torch-backend cpu -o requirements-torch-cpu.lock

dist: env  ## build wheel and sdist into dist/, from the sdist what is in the wheel
	$(BIN)/uv build --quiet --python $(BIN)/python --out-dir dist

fresh: env  ## install the wheel, with all it needs, for the oldest and the newest Python that are here, and search
	$(BIN)/python -m pytest -q -m slow tests/packaging $(ARGS)

notes:  ## release notes out of the changelog: make notes RELEASE=0.1.0; without a release what is not released yet
	@sed -n '/^## \[$(RELEASE)\]/,/^## \[/{/^## \[/d;p}' CHANGELOG.md | grep . || \
		{ echo "CHANGELOG.md has no section [$(RELEASE)]" >&2; exit 1; }

images:  ## build the two images for a cluster: make images BUILDER=podman
	for kind in cpu gpu; do \
		$(BUILDER) build -f k8s/images/$$kind.Dockerfile -t plastsearch$$(test $$kind = cpu || echo -gpu):$(VERSION) \
			--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null) . || exit 1; done

clean:  ## remove the environment and what tools leave behind
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12
