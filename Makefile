# `make` lists the targets. Everything runs in .venv, which is made on the first call with the tested set of packages.

PYTHON ?= $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install -qq --no-compile --constraint constraints.txt
DEMO   := checkpoints/merrill-2023.h5

# Stamps: what is installed, as of the last change of pyproject.toml or constraints.txt.
RUNTIME := $(VENV)/.runtime
DEV     := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help install demo test tests long lint format types docs wheel check beside-tests torture bench mutation studies clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(BIN)/python:
	@echo "making $(VENV): the first install takes a few minutes and about 3 GB"
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $(RUNTIME) $@
	@$(BIN)/pytest --quiet --collect-only > /dev/null || true # compiles what tests import, once for all their workers

install: $(DEV) ## make .venv with everything that development needs

demo: $(RUNTIME) ## train, analyze and show Merrill et al. 2023, full size; reuses or resumes the run that is there
	if [ -e $(DEMO) ]; then $(BIN)/circuits train --resume --out $(DEMO); \
	else $(BIN)/circuits train merrill-2023 --out $(DEMO); fi
	$(BIN)/circuits analyze $(DEMO) --subnetwork --norms --faithfulness
	$(BIN)/circuits report $(DEMO)

# Modules are compiled when they are first imported. Keep them, also where a shell forbids it: many processes share them.
export PYTHONDONTWRITEBYTECODE :=

# One quick test in four waits for another process or the disk, and more of the slow ones: so there are spare workers.
CORES ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
PYTEST := $(BIN)/pytest --dist loadfile --no-loadscope-reorder -n

test: $(DEV) ## every test that is marked neither slow nor long
	$(PYTEST) $(shell expr $(CORES) + 1) -m "not slow and not long"

tests: $(DEV) ## every test that is not marked long: those of `test`, and those marked slow
	$(PYTEST) $(shell expr $(CORES) + 2) -m "not long"

long: $(DEV) ## the tests marked long: the papers' claims at full size, and campaigns
	$(PYTEST) $(shell expr $(CORES) + 2) -m long

lint: $(DEV) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV) ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## mypy
	$(BIN)/mypy

docs: $(DEV) ## build docs/_build/html, warnings are errors, works offline
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs docs/_build/html

wheel: $(DEV) ## build wheel and sdist, install the wheel into an empty venv elsewhere and try it there
	.ci/wheel $(BIN)/python

check: lint ## everything that CI runs; one core's worth beside the tests
	$(MAKE) --jobs=2 tests beside-tests

beside-tests: types wheel docs

torture: $(DEV) ## every write cut at every byte (2 hours), 500 kills, 10,000 damaged files, 3,000 certificates, counts printed
	$(BIN)/python tests/torn/cuts.py
	$(BIN)/python tests/kills.py --kills 500
	$(BIN)/python tests/mutants.py 10000
	$(BIN)/python tests/proofs.py 1000

bench: $(DEV) ## ratios against a naive baseline measured in the same run
	$(BIN)/python benchmarks/run.py $(ROWS)

mutation: $(DEV) ## 300 mutants of the pure functions and the constructions against their tests, survivors printed
	$(BIN)/python tests/mutation/score.py $(MUTATION)

studies: $(DEV) ## every study in analysis/, full size: trains what is missing (3 days on 2 cores; says so first, goes on where it stopped)
	set -e; for study in analysis/[a-z]*.py; do echo "== $$study"; $(BIN)/python $$study --train; done

clean: ## remove what the targets above made, except .venv and the runs
	rm -rf build dist docs/_build docs/generated .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find circuits tests analysis benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
