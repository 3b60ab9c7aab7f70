# Two commands matter: `make demo` and `make test`. Each sets up what it needs in .venv first.

# The first Python that the project supports and that can make a virtual environment;
# `make PYTHON=... demo` chooses another.
ifndef PYTHON
PYTHON := $(shell for p in python3.12 python3.11 python3.10 python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
endif
PIP = .venv/bin/python -m pip --disable-pip-version-check install --quiet
BIN = .venv/bin
# Where the demonstration is left.
DEMO = demo
CODE = pipeline training export server client benchmarks docker examples docs tests

.PHONY: demo test lint fix docs bench bench-full serve clean

demo: .venv/.server ## Screen phantoms by the real server; the report is demo/answers/report.html
	$(BIN)/python examples/demo.py "$(DEMO)"

test: .venv/.dev lint ## Everything that is checked
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff format --check $(CODE) model_repository
	$(BIN)/ruff check $(CODE) model_repository
	$(BIN)/mypy $(CODE)
	set -e; for model in model_repository/*/1/model.py; do $(BIN)/mypy $$model; done
	$(BIN)/thyroid-export repository --check

fix: .venv/.dev ## Format, and mend what the linter can
	$(BIN)/ruff format $(CODE) model_repository
	$(BIN)/ruff check --fix $(CODE) model_repository

docs: .venv/.dev ## The figures in the documents, the dashboard, the picture of an answer
	$(BIN)/python docs/render_figures.py
	$(BIN)/python docker/grafana/render_dashboard.py
	$(BIN)/python docs/render_picture.py

bench: .venv/.dev ## Floor, scenarios and knee, the short way; the report is in runs/benchmarks
	$(BIN)/python benchmarks/scenarios.py suite --short

bench-full: .venv/.dev ## All of docs/performance.md at length: soak, layouts, peers, perf_analyzer too
	$(BIN)/python benchmarks/scenarios.py suite --full --beside runs/cache

serve: .venv/.server ## The server in the foreground: gRPC on 8001, HTTP on 8000, metrics on 8002
	$(BIN)/thyroid-serve --profile cpu

clean:
	rm -rf .venv "$(DEMO)"

# A stamp, not the interpreter: one that was cut short while it was made is made anew.
.venv/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.10, 3.11 or 3.12 with venv was found on PATH: install one (on Debian python3 and python3-venv), or name it: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	touch $@

# Serving installs no torch; the tests install everything.
.venv/.server: .venv/.made pyproject.toml
	$(PIP) --editable '.[server]'
	touch $@

.venv/.dev: .venv/.made pyproject.toml
	$(PIP) --editable '.[dev]'
	touch $@ .venv/.server
