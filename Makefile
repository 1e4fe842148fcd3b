# Two commands do everything, set-up included: `make compare` and `make test`. `make help` lists the rest.
#
#   PYTHON=python3.12   the interpreter to build the environment with (3.11 or newer)
#   VENV=.venv          where the environment lies
#   EXTRAS=tfds,peers   more of setup.py's extras: preparing image datasets, PyTorch as an oracle
#   CONFIG=...          what `make compare` runs, configs/digits.py if not given
#   ARGS=...            passed on to the script or to pytest

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?=
ARGS ?=
CONFIG ?= configs/digits.py
WORKDIR ?= runs/$(basename $(notdir $(CONFIG)))

RUN = $(VENV)/bin/python

# Compiling is most of the work of tests and figures, so compiled programs are kept, apart for each
# kind of processor.
PROCESSOR = $(shell { grep -m 1 -E '^(flags|Features)' /proc/cpuinfo || uname -a; } 2> /dev/null | cksum | cut -d ' ' -f 1)
KEEP_COMPILED = JAX_COMPILATION_CACHE_DIR=$(abspath $(VENV))/jax-$(PROCESSOR) \
  JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0

# Python keeps the bytecode of what it imports, also where a container's settings turn that off:
# without it every start compiles some thousand modules again, which takes seconds.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help compare results test lint docs environment lock clean

help:  ## list the commands
	@sed -n 's/^#   /  /p' Makefile
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F '|' '{ printf "make %-12s %s\n", $$1, $$2 }'

compare: environment  ## train several heads over several seeds, on digits, and write the report
	$(RUN) -m experiments.compare --config=$(CONFIG) --workdir=$(WORKDIR) $(ARGS)

results: environment  ## make tables, figures and the ledger of claims from the committed results
	$(RUN) -m experiments.results
	$(RUN) -m experiments.claims

test: lint docs  ## check style, import arrows and docs, then run all tests
	$(KEEP_COMPILED) $(RUN) -m pytest -n logical --maxprocesses=8 $(ARGS)

lint: environment  ## check style and import arrows
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

docs: environment  ## build the documentation into docs/_build/html
	@rm -rf docs/_build  # All of it is made anew: Sphinx repeats no warning for a page it kept.
	$(KEEP_COMPILED) $(RUN) -m sphinx --fail-on-warning --quiet docs docs/_build/html
	@echo "The documentation is docs/_build/html/index.html"

environment:  ## create or refresh the environment, where it is missing or stale
	@command -v $(PYTHON) > /dev/null || { \
	  echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=..."; exit 1; }
	@$(PYTHON) requirements/environment.py --venv=$(VENV) --extras="$(EXTRAS)"

lock:  ## renew this Python version's pins in requirements/
	$(PYTHON) requirements/lock.py

clean:  ## remove built documentation and caches; the environment and runs/ stay
	rm -rf docs/_build docs/api build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find softmax_research experiments configs tests docs -name __pycache__ -prune -exec rm -rf {} +
