# Everything is set up on first use in .venv, with the versions of constraints.txt.
#   make run ARGS="preset=smoke seed=3"     ARGS: any KEY=VALUE, or --help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt
ARGS ?=
TEST_JOBS ?= 2

.PHONY: run test test-slow lint docs analyse check clean fuzz evidence onboard-emulated

run: $(VENV)/.installed
	$(BIN)/python -m kdmarl_sat.run scenario=imaging_constellation $(ARGS)

# Instructions of one decision on emulated flight processors; installs qemu and cross compilers where it may.
onboard-emulated: $(VENV)/.installed
	$(BIN)/python -m onboard.count_instructions --install $(ARGS)

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(TEST_JOBS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(ARGS)

# Coverage-guided: weight tables in the C engine, under sanitizers; what crashes it is left in build/fuzz. Needs clang.
FUZZ_SECONDS ?= 300
FUZZ := build/fuzz
fuzz: $(VENV)/.installed-dev
	@command -v clang > /dev/null || \
	  { echo 'Fuzzing needs clang and its runtime: apt-get install clang libclang-rt-14-dev' >&2; exit 1; }
	$(BIN)/python -m tests.engine.seeds $(FUZZ)/seeds
	mkdir -p $(FUZZ)/corpus
	clang -std=c99 -ffp-contract=off -g -O1 -fsanitize=fuzzer,address,undefined,float-cast-overflow \
	  -fno-sanitize-recover=all -DKD_MAX_UNITS=20 -DKD_MAX_OBS=24 -DKD_MAX_SLOTS=5 -DKD_MAX_ACTIONS=12 \
	  -DKD_MAX_BLOCKS=4 -Ionboard/engine -Itests/engine tests/engine/fuzz_table.c onboard/engine/kd_*.c -o $(FUZZ)/fuzz_table
	$(FUZZ)/fuzz_table -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -len_control=0 -print_final_stats=1 \
	  -artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus $(FUZZ)/seeds

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/mypy

# The C engine: cppcheck with MISRA C:2012, clang-tidy, compiler warnings; docs/misra.md lists what they may find.
analyse: $(VENV)/.installed-dev
	$(BIN)/kdmarl-sat measure evidence analysis

# The documentation site, into build/site; it works without a network. Broken links are errors.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

check: lint analyse docs test

# What takes longer, kept in results/evidence.json and told in docs/evidence.md: coverage (needs gcc), Frama-C's value
# analysis (frama-c-base), bounds of a decision (qemu and cross compilers), emx-onnx-cgen beside our C (in an environment
# of its own; C libraries for the cores), forged bundles, and runs that are killed.
EMX := build/emx
evidence: $(VENV)/.installed-dev $(EMX)/bin/emx-onnx-cgen
	PATH="$(CURDIR)/$(EMX)/bin:$$PATH" $(BIN)/kdmarl-sat measure evidence misra analysis coverage eva forms bound generator \
	  forged kills_game kills_mission processors_game processors_mission page record=results/evidence.json

$(EMX)/bin/emx-onnx-cgen:
	"$(PYTHON)" -m venv $(EMX)
	$(EMX)/bin/pip install --quiet --disable-pip-version-check emx-onnx-cgen==1.4.0

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo 'Python 3.11, 3.12 or 3.13 is needed, and "$(PYTHON)" is not: install one, or name it as in "make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)".' >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed
