# The local commands are the CI commands. `make dev` once, then any of the others.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= data/eval

.PHONY: dev check format lint types test bench clean

dev: $(VENV)/.done  ## everything a developer needs, in .venv
$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

check: lint types test  ## what CI runs

format: dev  ## rewrite sources in the one style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: dev  ## checked on what ships: a plain build of the package
	rm -rf build/types && $(BIN)/pip install --quiet --no-deps --target build/types .
	cd build/types && $(abspath $(BIN))/mypy --config-file $(abspath pyproject.toml) -p laconic

test: dev
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term-missing:skip-covered

bench: dev  ## quality beside baselines: make bench DATA=folder
	$(BIN)/laconic bench quality --data $(DATA)

clean:
	rm -rf build $(VENV) .coverage .pytest_cache .mypy_cache .ruff_cache *.egg-info
