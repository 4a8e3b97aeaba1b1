# Everything is set up on first use in .venv, with the versions of constraints.txt.
#   make run ARGS="preset=smoke seed=3"     ARGS: any KEY=VALUE, or --help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt
ARGS ?=

.PHONY: run test test-slow lint check clean onboard-emulated

run: $(VENV)/.installed
	$(BIN)/python -m kdmarl_sat.run scenario=imaging_constellation $(ARGS)

# Instructions of one decision on emulated flight processors; installs qemu and cross compilers where it may.
onboard-emulated: $(VENV)/.installed
	$(BIN)/python -m onboard.count_instructions --install $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/mypy

check: lint test

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo 'Python 3.11 is needed, and "$(PYTHON)" is not: install it, or name it as in "make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)".' >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed
