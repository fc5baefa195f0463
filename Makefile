# Every target builds its own virtual environment once, in .venv, and reuses it.
PYTHON ?= python3
# On a machine of your own, choose the PyTorch build that fits it: make quickstart TORCH="torch --index-url ..."
TORCH ?= $(shell grep '^torch==' constraints.txt)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: quickstart test test-slow test-slurm test-all check bench benchmark validate docs clean

quickstart: .venv/installed
	$(BIN)/vitrify quickstart --out quickstart

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

# Installs and starts a Slurm on this machine: root, and Debian's packages, are needed. Fails where it cannot.
test-slurm: .venv/installed-dev
	$(BIN)/python -m pytest -m slurm -s tests/slurm

test-all: test test-slow

check: .venv/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

benchmark: .venv/installed-dev
	$(BIN)/python -m benchmarks.results

validate: .venv/installed-dev
	$(BIN)/python -m validation inference
	$(BIN)/python -m validation transition
	$(BIN)/python -m validation

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

clean:
	rm -rf .venv quickstart bench.json validate.json validation/data docs/_build

.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) $(TORCH)
	touch $@

.venv/installed: .venv/torch pyproject.toml
	$(PIP) --editable .
	$(BIN)/python -c "from vitrify import study; study.compile_kernels()"
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable ".[dev]"
	touch $@

.venv/installed-docs: .venv/installed
	$(PIP) --editable ".[docs]"
	touch $@
