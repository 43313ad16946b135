# What a person types here: `make demo`, `make test`, `make check`. No root needed.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
TEST_WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist loadgroup $(if $(CI),--durations=20)

.PHONY: help demo test test-long check format docs bench build clean

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: .venv/demo-ready ## From nothing to a finished GPU run
	@$(BIN)/gpuyard run examples/digits.py --gpu nvidia-rtx-3090 --out model.joblib --max-cost 1

test: .venv/dev-ready ## Every test, the short kill -9 test too
	@echo "Running every test (some minutes: real kernels, sandboxes and databases) …"
	@$(PYTEST) -m "not slow"

test-long: .venv/dev-ready ## The tests that take many minutes too
	@echo "Running every test, the long ones too …"
	@$(PYTEST)

check: .venv/dev-ready ## Style, types, layers, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "format: run 'make format'"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/mypy scripts bench
	@$(BIN)/lint-imports --no-cache > .venv/imports.log || { cat .venv/imports.log; exit 1; }
	@$(BIN)/python scripts/generate_sync.py --check
	@$(BIN)/python scripts/docs.py --check

format: .venv/dev-ready ## Put the code into its one form
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

docs: .venv/dev-ready ## Write the generated pages of docs/ and the sync half of the SDK
	@$(BIN)/python scripts/generate_sync.py
	@$(BIN)/python scripts/docs.py

bench: .venv/dev-ready ## Measure, beside peers, into bench/results/
	@echo "Measuring beside peers (about ten minutes; the machine should be otherwise idle) …"
	@$(BIN)/python -m bench $(BENCH)

build: .venv/dev-ready ## Wheel and sdist into dist/
	@$(BIN)/python -m build --no-isolation --outdir dist . > .venv/build.log || { cat .venv/build.log; exit 1; }
	@ls dist

clean: ## Remove what was made, the environment too
	@rm -rf .venv dist bench/results bench/peers model.joblib .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "gpuyard needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "'$(PYTHON) -m venv' does not work. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

.venv/demo-ready: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Making the environment in .venv (once, about a minute) …"
	@$(PIP) install -c constraints.txt -e '.[demo,notebook]'
	@touch $@

.venv/dev-ready: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Making the environment with everything the tests need in .venv (once, about two minutes) …"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ .venv/demo-ready
