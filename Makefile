# One command for each thing a contributor does; all of them set the environment up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test test-fast check fix bench torture autobahn clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

run: $(READY)
	$(BIN)/alyx dev

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not torture"

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow and not torture"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m bench

torture: $(READY)
	$(BIN)/python -m pytest -n 2 -m torture

autobahn: $(READY)
	$(BIN)/python -m tests.http.autobahn

clean:
	rm -rf $(VENV) data build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
