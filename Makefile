# The local commands are the CI commands. `make dev` once, then any of the others.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= data/eval
EXTRAS ?= dev
MORE ?= # further packages
# uv installs in seconds what takes pip minutes; pip goes where uv does not find the way (its own mirror, a proxy)
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python
INSTALL_SLOWLY = $(BIN)/pip install --quiet
# two processes for two cores: more threads of OpenMP in each would only spin (a sixth slower)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: dev check format lint types test coverage docs pictures bench locks rehearse-image clean

dev: $(VENV)/.done  ## everything a developer needs, in .venv
$(VENV)/.done: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	$(INSTALL) --editable '.[$(EXTRAS)]' $(MORE) || $(INSTALL_SLOWLY) --editable '.[$(EXTRAS)]' $(MORE)
	-.ci/chart  # the chart's tests have a Python of their own, 3.12 or newer; without one they are skipped
	touch $@

check: lint types test docs  ## what CI runs

format: dev  ## rewrite sources in the one style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint --failure-threshold style Dockerfile

types: dev  ## checked on what ships: a plain build of the package
	rm -rf build/types && $(BIN)/pip install --quiet --no-deps --target build/types .
	cd build/types && $(abspath $(BIN))/mypy --config-file $(abspath pyproject.toml) -p laconic

test: dev  ## two files side by side
	$(PYTEST)

coverage: dev  ## the same, and which lines no test runs; a third slower
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

docs: dev  ## the documentation as a site, in build/docs; links that lead nowhere are errors (--quiet would let them pass)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: dev  ## those of the playground and of the command in the docs; needs a Chromium, see .ci/browser
	$(BIN)/python -m tests.browser docs/images

bench: dev  ## quality beside baselines: make bench DATA=folder
	$(BIN)/laconic bench quality --data $(DATA)

# what the image installs; wheels only, for its Python and glibc
LOCK = $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-annotate --custom-compile-command 'make locks' \
  --only-binary :all: --python-version 3.12 --python-platform x86_64-manylinux_2_28
locks: dev  ## renew docker/requirements-*.txt
	$(LOCK) docker/build.in --output-file docker/requirements-build.txt
	$(LOCK) pyproject.toml --extra cpu --extra otel --output-file docker/requirements-cpu.txt
	$(LOCK) pyproject.toml --extra rank --extra otel --constraint docker/requirements-cpu.txt \
	  --constraint docker/constraints.txt --output-file docker/requirements-gpu.txt

rehearse-image: dev  ## the Dockerfile's steps without an engine: root, debootstrap, PREFIX=prefix of a CPython 3.12
	$(BIN)/python -m tests.rehearse $(if $(PREFIX),--python $(PREFIX))

clean:
	rm -rf build $(VENV) .coverage .pytest_cache .mypy_cache .ruff_cache *.egg-info
