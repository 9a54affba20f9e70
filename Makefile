# make quickstart   environment, install, and the main job on text that every installation carries
# make test         the tests
# make check        lint, types, import contracts
# make bench        malmoi beside transformers and nanoGPT-style code: speed, memory (20 minutes; CORPUS=a text file of some megabytes)
# A second call of any of them installs nothing: the stamps under .venv remember.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
JOBS ?= 2
CORPUS ?= build/wiki/train.txt

.PHONY: quickstart test check bench clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

quickstart: .venv/.installed
	$(BIN)/malmoi quickstart

test: .venv/.installed-dev
	$(BIN)/python -m pytest -q -n $(JOBS)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-bench $(CORPUS)
	$(BIN)/python benchmarks/transformers_speed.py --corpus $(CORPUS) --steps 5 --warmup 2 --megabytes 10 --out build/transformers_speed.json

build/wiki/train.txt: | .venv/.installed-bench
	$(BIN)/python benchmarks/wiki_text.py ../shared/data/enwiki_excerpt build/wiki

# torch first and by itself: the constraint decides which build, before anything else can ask for another.
.venv/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch
	touch $@

.venv/.installed: .venv/.torch pyproject.toml
	$(PIP) -e .
	touch $@

.venv/.installed-dev: .venv/.torch pyproject.toml
	$(PIP) -e '.[dev]'
	touch $@ .venv/.installed

.venv/.installed-bench: .venv/.torch pyproject.toml
	$(PIP) -e '.[bench]'
	touch $@ .venv/.installed

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
