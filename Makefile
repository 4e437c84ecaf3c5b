# One target for each daily act. `make demo` and `make test` are each enough on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SETUP  := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

# an environment that forbids it would have every worker and every command that a test starts compile all that it imports
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all lint types bench docs format clean

$(SETUP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("populace needs Python 3.11 or newer, not " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(SETUP)            ## generate, fit, validate and show all three domains (REAL=TABLE: with a model of it)
	$(BIN)/populace demo $(if $(REAL),--real $(REAL))

test: $(SETUP)            ## the tests that every change must pass
	$(PYTEST)

test-all: $(SETUP)        ## the slow ones too
	$(PYTEST) -m 'slow or not slow' --hypothesis-profile=thorough

lint: $(SETUP)            ## style, format and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(SETUP)           ## pyright over the package
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(SETUP)          ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(SETUP)           ## ratios against walls and peers, measured in one run
	$(BIN)/python -m benchmarks

docs: $(SETUP)            ## the site, in site/
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info populace-out
