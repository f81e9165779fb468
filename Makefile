# Everything a checkout needs; `make` alone lists the targets. Every target brings its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# Every function of ours that nursery.start() may call, for ASYNC113: a start_soon() of one inside a context manager.
STARTABLE = $$(grep -rhzoP --include='*.py' 'async def \K\w+(?=\([^)]*\btask_status\b)' src tests | tr '\0' '\n' | sort -u | paste -sd,)
WORKERS ?= 2
ARGS ?=

# A candidate is run, not only found: version managers leave shims that fail.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))

.PHONY: help venv demo test also soak mutants docs fmt format-check lint types async unit bench bench-peers lock clean

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z-]+):.*## (.*)/  make \1: \2/p' $(MAKEFILE_LIST)

venv: .venv/.dev ## Create .venv from the locks, with the tools of `make test`

.venv/.python:
	@if [ -n "$(PYTHON)" ]; then candidates="$(PYTHON)"; else candidates="python3.11 python3.12 python3.13 python3"; fi; \
	for python in $$candidates; do \
	  if "$$python" -c '$(FITS)' >/dev/null 2>&1; then found="$$python"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "syncd needs Python 3.11, 3.12 or 3.13 with venv and ensurepip; tried: $$candidates." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	[ -x $(BIN)/python ] || { echo "== .venv from $$found"; "$$found" -m venv .venv; }
	@touch $@

# What it takes to run: the locked run-time packages, the build backend, and this checkout itself.
.venv/.run: .venv/.python requirements/run.txt requirements/build.txt pyproject.toml
	@echo "== packages to run"
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src # as an installed package would be: it is a fifth of what a run of im takes
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	@echo "== packages to develop"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

demo: .venv/.run ## Show a first synced incident: make demo, or make demo ARGS=--once
	@$(BIN)/syncd demo $(ARGS)

test: format-check lint async types unit ## Run every check

# The newest Python that is supported, if it is at hand: everything but the worlds and the real processes.
also: ## pytest on Python 3.13 as well, where there is one
	@for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do \
	  if "$$python" -c '$(FITS)' >/dev/null 2>&1; then found="$$python"; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then echo "== no Python 3.13 at hand"; exit 0; fi; \
	echo "== pytest on $$("$$found" --version)"; \
	[ -x .venv-3.13/bin/python ] || "$$found" -m venv .venv-3.13; \
	pip=".venv-3.13/bin/python -m pip --disable-pip-version-check --no-input -qq install"; \
	$$pip --require-hashes -r requirements/dev.txt && $$pip --no-deps --no-build-isolation --editable . && \
	.venv-3.13/bin/pytest -q -n $(WORKERS) --ignore tests/simulation --ignore tests/crash

docs: .venv/.dev ## Write the tables of docs/ that are made from the code
	@$(BIN)/python -m tests.core.truth_table

fmt: .venv/.dev ## Format the sources and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

format-check: .venv/.dev
	@echo "== ruff format"
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted; run: make fmt" >&2; exit 1; }

lint: .venv/.dev ## ruff: style, likely bugs, banned calls
	@echo "== ruff check"
	@$(BIN)/ruff check --quiet .

# Off: checkpoints at every exit (ASYNC9), which suits libraries; async without await (ASYNC124), which a Protocol or a
# route may ask for; and "use httpx2" (ASYNC127): the gate in front of the pool closes the gap that would be the reason.
async: .venv/.dev ## flake8-async: cancellation and nurseries
	@echo "== flake8-async"
	@find src tests -name '*.py' | xargs -P $(WORKERS) -n 24 $(BIN)/flake8-async --enable=ASYNC \
	  --disable=ASYNC9,ASYNC124,ASYNC127 --startable-in-context-manager="$(STARTABLE)"

types: .venv/.dev ## mypy --strict over src and tests
	@echo "== mypy"
	@$(BIN)/mypy

unit: .venv/.dev ## pytest; narrow it down with ARGS="tests/core -k merge"
	@echo "== pytest"
	@$(BIN)/pytest -q -n $(WORKERS) $(ARGS)

bench: .venv/.run ## Measure against baselines of the same run: make bench ARGS="--only accept --format markdown"
	@$(BIN)/python -m tests.bench $(ARGS)

# From npm, by a lock with hashes, and nothing that a package wants to run while it is installed.
.bench/peers/.installed: tests/bench/peers/package-lock.json
	@node -e 'process.exit(Math.max(0, "20.19".localeCompare(process.versions.node, undefined, {numeric: true})))' 2>/dev/null \
	  || { echo "the tools to compare with need Node 20.19 or later, and npm" >&2; exit 1; }
	@echo "== packages of the tools to compare with"
	@mkdir -p $(@D) && cp tests/bench/peers/package.json tests/bench/peers/package-lock.json tests/bench/peers/.npmrc $(@D)
	@cd $(@D) && npm ci --ignore-scripts --silent
	@touch $@

bench-peers: .venv/.run .bench/peers/.installed ## The same job by syncd, Node-RED and Restate (installs these two with npm)
	@$(BIN)/python -m tests.bench --only peers $(ARGS)

# One lock serves 3.11 to 3.13. Nothing in it names an index, so any mirror will do; the hashes say what is accepted.
COMPILE = env -u UV_INDEX_URL UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
  --python-version 3.11 --generate-hashes

soak: .venv/.dev ## Thousands of simulated worlds; make soak ARGS=--help, ARGS="--only days:17" for one
	@$(BIN)/python -m tests.simulation.soak $(ARGS)

mutants: .venv/.dev ## Plant bugs and count the seeds until the worlds find each; make mutants ARGS=--help
	@$(BIN)/python -m tests.simulation.mutants $(ARGS)

lock: .venv/.dev ## Resolve requirements/*.txt anew from pyproject.toml
	@$(COMPILE) pyproject.toml --upgrade --output-file requirements/run.txt >/dev/null
	@sed -nE 's/^requires = \["(.*)"\]$$/\1/p' pyproject.toml \
	  | $(COMPILE) - --upgrade --output-file requirements/build.txt >/dev/null
	@$(COMPILE) pyproject.toml --extra dev --upgrade --constraint requirements/run.txt \
	  --constraint requirements/build.txt --output-file requirements/dev.txt >/dev/null
	@! grep -nE '[a-z]+://' requirements/*.txt || { echo "A lock names a host; see the lines above." >&2; exit 1; }

clean: ## Remove .venv and every cache
	@rm -rf .venv .venv-3.13 .bench build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
