# `make` installs, `make demo` renders a film, `make test` tests; each works on a fresh machine.
# The first Python that runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := .venv/bin
# Of `make chaos`: the seed gives the faults and their order.
FAULTS ?= 100
SEED ?= 1

.PHONY: install dev demo test unit chaos check figures fix lock clean

install: .venv/installed

dev: .venv/installed-dev

demo: .venv/installed
	$(BIN)/longreel render examples/demo.txt --seconds 14 --output demo.mp4

# Test processes for two cores. Slow tests wait for servers and for leases that run out; the others
# never wait.
test: JOBS ?= 3
unit: JOBS ?= 2

test: .venv/installed-dev
	bash scripts/test-services
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

unit: .venv/installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

chaos: .venv/installed-dev
	bash scripts/test-services
	$(BIN)/python -m tests.chaos --faults $(FAULTS) --seed $(SEED)

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

figures: .venv/installed-dev
	$(BIN)/python scripts/house_figures.py --check

fix: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Takes the versions that are installed now as the ones that everyone gets.
lock: .venv/installed-dev
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | LC_ALL=C sort > constraints.txt

clean:
	rm -rf .venv build *.egg-info .*_cache

.venv/python:
	@test -n "$(PYTHON)" || { echo "Longreel needs Python 3.11 or newer. Try: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@
