# keywright: `make demo` and `make test` are all that a newcomer needs. Needs only python3 (3.11 or newer) with pip.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/bin/uv
JOBS ?= 2
PYTEST_ARGS ?=

# Run time only: what `make demo` needs. Sync makes the environment exactly the lock.
RUN_STAMP := $(VENV)/.run
# The same environment with test and lint tools added.
DEV_STAMP := $(VENV)/.dev

export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test bench lint fmt docs nightly check lock clean

help: ## say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

setup: $(DEV_STAMP) ## install run time, test and lint tools into .venv

demo: $(RUN_STAMP) ## provision a lot of simulated key fobs, end to end
	@$(BIN)/keywright demo

test: $(DEV_STAMP) ## run the tests, show branch coverage and what was left out
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-branch --cov-report=term $(PYTEST_ARGS)

nightly: $(DEV_STAMP) ## run the tests with twenty times the random cases, newly drawn
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --hypothesis-profile=nightly $(PYTEST_ARGS)

bench: $(DEV_STAMP) ## measure ratios to peers and bare primitives; write table and plot into docs
	$(BIN)/python benchmarks/run.py

docs: $(DEV_STAMP) ## write the generated tables and diagrams of docs anew
	$(BIN)/python docs/generate.py

lint: $(DEV_STAMP) ## ruff, mypy --strict, pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

fmt: $(DEV_STAMP) ## put the code into house form
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

check: lint test ## what must pass before a commit

clean: ## remove everything made here
	rm -rf $(VENV) .tools build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN_STAMP): .ci/install pyproject.toml requirements.lock .ci/requirements-uv.lock .ci/requirements-build.lock
	@PYTHON="$(PYTHON)" .ci/install run
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements-dev.lock
	@PYTHON="$(PYTHON)" .ci/install dev
	@touch $@

# ---- locks: hashes, no addresses, one version for every Python (fewest) ------------------------------------------
# yubikey-manager is here for `yubikit` alone, which needs neither pyscard (no Linux wheel) nor what only its command
# line imports; so those are resolved away.
COMPILE = $(UV) pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade
UNWANTED := pyscard keyring python-pskc

lock: $(UV) ## resolve the newest versions into the lock files
	printf '%s ; python_version < "3"\n' $(UNWANTED) > .tools/unwanted.txt
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --extra dev --override .tools/unwanted.txt -c requirements.lock -o requirements-dev.lock
	printf '%s\n' uv | $(COMPILE) - -o .ci/requirements-uv.lock
	printf '%s\n' hatchling editables | $(COMPILE) - -o .ci/requirements-build.lock
	printf '%s\n' pyscard setuptools | $(COMPILE) - -o .ci/requirements-pcsc.lock
	printf '%s\n' python-mbedtls | $(COMPILE) - -o .ci/requirements-ota.lock
	printf '%s\n' py-gp | $(COMPILE) --no-deps - -o .ci/requirements-pygp.lock
	printf '%s\n' btmesh | $(COMPILE:3.11=3.12) --no-deps - -o .ci/requirements-btmesh.lock

$(UV):
	$(PYTHON) -m pip install -q --target .tools --upgrade uv
