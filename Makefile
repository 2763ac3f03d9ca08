# The two commands to know are `make run` and `make test`; `make check` is what a change has to pass as well.
# Every setting is read from the environment: `PORT=8080 make run` and `make run PORT=8080` do what they say.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench format lock clean help

help:            ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

run: $(VENV)/.run  ## start everything in one process
	@$(BIN)/footfall up

test: $(VENV)/.dev  ## run the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.dev  ## format check, lint, types, import rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev  ## measure every figure of the contract, with one table at the end
	@$(BIN)/python -m bench $(ARGS)

format: $(VENV)/.dev  ## put the code into the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 $(UPGRADE) pyproject.toml
# `make lock UPGRADE=--upgrade` also takes newer versions of what is locked already.
# Hashes and no addresses: the lock says what is installed, the machine's own settings say from where.
lock: $(VENV)/bin/python  ## renew the locked versions
	@$(BIN)/python -m pip install -q uv
	@$(COMPILE) -o requirements.lock
	@$(COMPILE) --extra redis --extra mongo --extra aws --extra clickhouse -o requirements-server.lock
	@$(COMPILE) --all-extras -o requirements-dev.lock

clean:           ## remove the environment
	rm -rf $(VENV)

$(VENV)/bin/python:
	@echo "Creating the environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Footfall needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing (once; about a minute on a slow line) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing with everything for the tests (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@ $(VENV)/.run
