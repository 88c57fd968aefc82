# Two commands for a fresh clone: `make quickstart` and `make test`. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-slow test-browser campaign docs reference clean

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

# The playground in a headless Chromium: Playwright's own (`playwright install chromium`), or the system's.
test-browser: .venv/installed
	$(BIN)/pytest -m browser

# Kills, damage, several writers, full disks ...: docs/RELIABILITY.md tells what each proves.
campaign: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -s tests/campaign

# The documentation as one site, docs/_build/index.html; a broken link is an error.
docs: .venv/installed reference
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build

# docs/reference, written from the code.
reference: .venv/installed
	$(BIN)/python docs/write_reference.py

clean:
	rm -rf .venv build dist docs/_build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
