PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TASKS := push pick-place peg-insert-side basketball button-press drawer-open

.PHONY: help demo test lint format bench docs clean

help:  ## what there is to make
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[all,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) -e '.[docs]'
	@touch $@

demo: $(VENV)/.run  ## six tasks, three rounds: a policy that gets better, and a report
	$(BIN)/viae improve $(TASKS:%=--task %) --store demo/store --budget 12 --attempts 25

test: $(VENV)/.dev  ## the test suite, on all cores
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

lint: $(VENV)/.dev  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## all figures; takes hours
	$(BIN)/python benchmarks/road.py --json
	$(BIN)/python benchmarks/logs.py --json
	$(BIN)/python benchmarks/load.py --json
	$(BIN)/python benchmarks/model.py --json

docs: $(VENV)/.docs  ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove the demo, the site and the virtual environment
	rm -rf demo site $(VENV)
