# make demo | test | check | bench | docs   (each builds what it needs first)
#
# VENV    where the virtual environment is (default .venv)
# PYTHON  the interpreter to build it from (default: the first of 3.11, 3.12, ... that there is)
# pip's own settings are honoured: with PIP_FIND_LINKS a locally provided torch build is used.

VENV ?= .venv
BENCH_VENV ?= .venv-bench
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet -c constraints.txt
# Shims of version managers exist without the version behind them, so each candidate is run.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
REQUIREMENTS = pyproject.toml constraints.txt

.PHONY: help demo test check lint types bench bench-env docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   build .venv, then run recipes/demo.yaml into runs/demo"
	@echo "make test   the default tests: offline, without an accelerator"
	@echo "make check  lint, format, types, tests"
	@echo "make bench  the benchmarks against their peers"
	@echo "make docs   the documentation, into site/"

demo: $(VENV)/.installed
	$(BIN)/regimen run recipes/demo.yaml

# Bytecode is kept: processes that tests start would compile everything anew. Neighbouring tests
# share what their file made, so each process takes a stretch of the files.
test: $(VENV)/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal

check: lint types test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-dev bench-env
	$(BIN)/python benchmarks/train.py --json
	$(BIN)/python benchmarks/align.py --json
	$(BIN)/python benchmarks/adapter_speed.py --json
	$(BIN)/python benchmarks/generate.py --json
	$(BIN)/python benchmarks/evaluate.py --json
	$(BIN)/python benchmarks/head.py --json
	$(BIN)/python benchmarks/build.py --json
	$(BIN)/python benchmarks/quantisation.py --json

bench-env: $(BENCH_VENV)/.installed $(BENCH_VENV)-litgpt/.installed \
		$(BENCH_VENV)-llamafactory/.installed

docs: $(VENV)/.installed-docs
	$(BIN)/zensical build --strict

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(BENCH_VENV)-litgpt $(BENCH_VENV)-llamafactory site .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "regimen needs Python 3.11 or newer; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch goes first and alone: a range would take the newest build with its accelerator libraries.
$(VENV)/.installed: $(REQUIREMENTS) | $(VENV)/bin/python
	$(INSTALL) torch
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev,browser]'
	@touch $@

# Only the tests next to them need these: lm-eval asks for forty libraries, and torchao is imported
# by every process that imports transformers.
$(VENV)/.installed-parity: $(VENV)/.installed-dev
	$(INSTALL) -e '.[lm-eval,torchao]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) -e '.[docs]'
	@touch $@

# Peers are measured from environments of their own: what they ask for cannot be in one.
$(BENCH_VENV)/.installed: $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "regimen needs Python 3.11 or newer; none was found" >&2; exit 1; }
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -c constraints.txt torch
	$(BENCH_VENV)/bin/python -m pip install --quiet -c constraints.txt trl peft bitsandbytes
	@touch $@

# Of what is tested with regimen, only torch; the rest is as these peers ask for it.
TORCH = $(shell grep '^torch==' constraints.txt)
$(BENCH_VENV)-litgpt/.installed: constraints.txt
	@test -n "$(PYTHON)" || { echo "regimen needs Python 3.11 or newer; none was found" >&2; exit 1; }
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(TORCH)
	$(@D)/bin/python -m pip install --quiet $(TORCH) litgpt==0.5.13
	@touch $@

# torchvision and torchaudio come built for another torch and fail when they are imported.
$(BENCH_VENV)-llamafactory/.installed: constraints.txt
	@test -n "$(PYTHON)" || { echo "regimen needs Python 3.11 or newer; none was found" >&2; exit 1; }
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(TORCH)
	$(@D)/bin/python -m pip install --quiet $(TORCH) llamafactory==0.9.5
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	@touch $@
