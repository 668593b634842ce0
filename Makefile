# Each target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean

# The first interpreter of a supported version; `make PYTHON=/path/to/python3.12 test` overrides it.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
# Threads that wait by spinning slow one another down as soon as anything else runs on the machine.
export GOMP_SPINCOUNT ?= 1000
RUN := $(VENV)/bin/python
WORKERS ?= 2

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

$(VENV)/installed: setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.10, 3.11 or 3.12 found: install one, or pass PYTHON=/path/to/python."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install -e '.[dev]' -c constraints.txt
	@touch $@

demo: $(VENV)/installed  ## the whole way on simulated scans: simulate, pre-train, fine-tune, evaluate, report
	$(RUN) -m also_selfsup.demo

test: check  ## style, types and all tests
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/installed  ## style and types only
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/installed  ## rewrite the files in the house style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: export GOMP_SPINCOUNT = 10000
bench: $(VENV)/installed  ## the figures of doc/performance.md on this machine's CPU
	$(RUN) -m tests.benchmarks.run_all

clean:  ## remove the environment and the demo's results
	rm -rf $(VENV) demo
