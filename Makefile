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

# The interpreter's version, and a number for what an environment cannot survive a change of: the
# interpreter, and the place of this clone, which the environment's scripts name.
PROBE = import sys, zlib; \
  print("%d.%d" % sys.version_info[:2], zlib.crc32(repr((sys.version, sys.base_prefix, sys.argv)).encode()))
PROBED := $(shell $(PYTHON) -c '$(PROBE)' '$(CURDIR)' 2> /dev/null)
PYTHON_VERSION := $(firstword $(PROBED))
PINS := $(wildcard requirements/py$(PYTHON_VERSION).txt)

# Three empty files in the environment: that it was made here, that it is complete but for packages,
# and that these extras are installed. Extras that another command installed stay.
comma := ,
space := $() $()
ALL_EXTRAS := $(subst $(space),$(comma),$(sort docs test $(subst $(comma), ,$(EXTRAS))))
OURS := $(VENV)/softmax_research.json
CREATED := $(VENV)/created-$(lastword $(PROBED))
INSTALLED := $(VENV)/installed-$(ALL_EXTRAS)

# Most of what is installed is never imported; the rest is compiled when it first is.
PIP_INSTALL = $(RUN) -m pip install --disable-pip-version-check --no-compile $(PINS:%=--constraint %)

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

# A file's tests stay in one process, where they share what was compiled: a twelfth less work.
test: lint docs  ## check style, import arrows and docs, then run all tests
	$(RUN) -m pytest -n logical --maxprocesses=8 --dist=loadfile $(ARGS)

lint: environment  ## check style and import arrows
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

docs: environment  ## build the documentation into docs/_build/html
	@rm -rf docs/_build  # All of it is made anew: Sphinx repeats no warning for a page it kept.
	$(RUN) -m sphinx --fail-on-warning --quiet docs docs/_build/html
	@echo "The documentation is docs/_build/html/index.html"

environment: $(INSTALLED)  ## create or refresh the environment, where it is missing or stale

# setuptools comes first, so that the package itself is built with the pinned one.
$(INSTALLED): $(CREATED) setup.py $(PINS)
	@test -n "$(PINS)" || echo "Note: there are no pins for Python $(PYTHON_VERSION): its packages are the newest allowed."
	{ $(PIP_INSTALL) setuptools && $(PIP_INSTALL) --no-build-isolation --editable '.[$(ALL_EXTRAS)]'; } || { \
	  echo "The packages could not be installed; pip's own message is above. The first set-up needs the"; \
	  echo "network, or a folder of wheels named by PIP_FIND_LINKS. Run the same command again afterwards."; exit 1; }
	@touch $@

# An environment of another interpreter, or half of one, is made anew: its stamps go first.
$(CREATED):
	@command -v $(PYTHON) > /dev/null || { \
	  echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "softmax_research needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name a newer one, for example: make PYTHON=python3.12 test"; exit 1; }
	@test -e $(OURS) || test -z "$$(ls -A $(VENV) 2> /dev/null)" || { \
	  echo "$(VENV) exists, and was not made by this Makefile, so it is left alone."; \
	  echo "Remove it, or name another place: make VENV=.venv-softmax ..."; exit 1; }
	@mkdir -p $(VENV) && touch $(OURS) && rm -f $(VENV)/created-* $(VENV)/installed-*
	@find $(VENV) -mindepth 1 -maxdepth 1 ! -name $(notdir $(OURS)) -exec rm -rf {} +
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch itself names the exact versions of its accelerator libraries, where it wants any. A local
# label (+cpu, +cu130) names one machine's build of a version, and is not pinned.
lock:  ## renew this Python version's pins in requirements/
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install --no-compile --editable '.[docs,peers,test,tfds]' setuptools
	{ echo "# Versions for Python $(PYTHON_VERSION), written by \`make lock\`: used as constraints, so that a package which"; \
	  echo "# nothing asks for is not installed."; \
	  build/lock/bin/python -m pip freeze --all --exclude-editable \
	    | grep -vE '^(pip=|nvidia-|cuda-|triton)' | sed 's/+.*//'; } > requirements/py$(PYTHON_VERSION).txt
	rm -rf build/lock

clean:  ## remove built documentation and caches; the environment and runs/ stay
	rm -rf docs/_build docs/api build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find softmax_research experiments configs tests docs -name __pycache__ -prune -exec rm -rf {} +
