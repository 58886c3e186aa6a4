# Everything a newcomer or CI needs; a machine with Python >= 3.11, git and make is enough.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Not .cache: zensical build --clean empties that.
RESULTS := .pytest_cache
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo test quick check claims bench docs
# A recipe that fails half-way must not leave a stamp that says it succeeded.
.DELETE_ON_ERROR:

help:
	@echo "make demo    fine-tune on examples/tickets.csv, then transfer on digits (no hub needed)"
	@echo "make test    quick tests, then slow ones"
	@echo "make quick   the quick tests alone"
	@echo "make check   style, types, floors, dependencies, claims, docs"
	@echo "make claims  what graft promises, and what shows it"
	@echo "make bench   measure against the peers"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "graft needs Python 3.11 or newer, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-demo: pyproject.toml | $(BIN)/python
	@echo "Installing graft into $(VENV) (the first time this fetches torch: some minutes)"
	$(PIP) install --quiet -e '.[demo]'
	@touch $@

# The development environment holds the demo's, so it renews both stamps.
$(VENV)/.stamp-dev: pyproject.toml | $(BIN)/python
	@echo "Installing graft and its development tools into $(VENV) (the first time: some minutes)"
	$(PIP) install --quiet -e '.[dev]'
	@touch $(VENV)/.stamp-demo $@

demo: $(VENV)/.stamp-demo
	$(BIN)/graft train examples/tickets.csv --out runs/tickets --overwrite
	$(BIN)/python examples/digits.py

# Two processes, so that the quick tests' answer comes first and slow ones start with fresh memory.
test: $(VENV)/.stamp-dev
	@mkdir -p $(RESULTS)
	$(PYTEST) -m "not slow" --junit-xml=$(RESULTS)/junit-quick.xml
	$(PYTEST) -m slow --junit-xml=$(RESULTS)/junit-slow.xml

quick: $(VENV)/.stamp-dev
	@mkdir -p $(RESULTS)
	$(PYTEST) -m "not slow" --junit-xml=$(RESULTS)/junit-quick.xml

check: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src
	$(BIN)/python scripts/claims.py --check
	$(BIN)/zensical build --clean --strict

claims: $(VENV)/.stamp-dev
	@$(BIN)/python scripts/claims.py

docs: $(VENV)/.stamp-dev
	$(BIN)/python scripts/claims.py --docs
	$(BIN)/zensical build --clean

bench: $(VENV)/.stamp-dev
	@for script in $(filter-out %/__init__.py,$(wildcard benchmarks/*.py)); do \
	    echo "== $$script"; $(BIN)/python $$script || exit 1; \
	done
