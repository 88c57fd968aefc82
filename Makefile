# Two commands for a fresh clone: `make quickstart` and `make test`. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tinythinker needs Python 3.11 or newer")'
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

quickstart: .venv/installed
	$(BIN)/tinythinker quickstart

test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

test-slow: .venv/installed
	$(BIN)/pytest -m 'slow'

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
