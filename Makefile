# `make` alone lists what there is. Needed: Python >= 3.10 with its venv module, and make. Everything else goes into .venv.
PYTHON  ?= python3
WORKERS ?= 2
ARGS    ?=

PY     := .venv/bin/python
STAMPS := .venv/stamps
PIP    := $(PY) -m pip install --disable-pip-version-check --quiet -c constraints.txt
INPUTS := pyproject.toml constraints.txt Makefile
comma  := ,
PAGES  := README.md $(wildcard docs/*.md docs/quickstart/*.md)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test nightly docs dist lint format clean

help:  ## this list
	@awk -F ':.*##[ \t]*' '/^[a-z-]+:.*##/ { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12 make test      another interpreter, for a new .venv"
	@echo "  make demo ARGS='--dataset fashion-mnist'      arguments for the command"

demo: $(STAMPS)/study  ## install and run the main job; its page is runs/demo/index.html
	.venv/bin/revgn demo $(ARGS)

test: $(STAMPS)/dev  ## install and run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --timeout 300 --benchmark-disable -m 'not nightly' $(ARGS)

nightly: $(STAMPS)/dev  ## install and run the tests that take long, and the Python blocks of README and docs
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --timeout 600 --benchmark-disable -m nightly $(ARGS)
	OMP_NUM_THREADS=1 $(PY) -m pytest --timeout 300 $(PAGES)  # in one process: the blocks of a page share their names

# As strict as sphinx can be: unknown names and warnings are errors, all examples are run, and every link is followed.
docs: $(STAMPS)/docs  ## install and build the documentation; its first page is docs/_build/html/index.html
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(PY) -m sphinx -b html -W --keep-going -n -q docs docs/_build/html
	$(PY) docs/check_links.py docs/_build/html

# The wheel and the sdist in turn, each beside torch alone.
dist: $(STAMPS)/dev  ## build wheel and sdist into dist/, and try both in a fresh environment
	rm -rf dist
	$(PY) -m build
	$(PYTHON) -m venv --clear build/smoke
	build/smoke/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt torch
	for package in dist/*.whl dist/*.tar.gz; do \
	    build/smoke/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --force-reinstall $$package \
	        && build/smoke/bin/python tests/release/smoke.py || exit 1; done

lint: $(STAMPS)/dev  ## style, types, import layers, spelling
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m pyright
	.venv/bin/lint-imports
	.venv/bin/codespell

format: $(STAMPS)/dev  ## rewrite the code in the project's style
	$(PY) -m ruff check --fix-only
	$(PY) -m ruff format

clean:  ## remove .venv, caches and build output; runs/ stays
	rm -rf docs/_build docs/_generated docs/gallery docs/api/generated docs/sg_execution_times.rst
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written when its step has ended well: an interrupted one is done again, a finished one costs nothing.
$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "revgn needs Python 3.10 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1 || true). Name another: PYTHON=python3.12 make ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { \
	    echo "'$(PYTHON)' has no venv module. Install it (Debian and Ubuntu: apt install python3-venv) and run make again."; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@mkdir -p $(STAMPS) && touch $@

# A killed pip can leave half a package that it later takes for whole: then .venv is made anew.
ifneq ($(wildcard $(STAMPS)/installing),)
.PHONY: $(STAMPS)/venv
endif
define install
@echo "pip install $(1)"; touch $(STAMPS)/installing
@$(PIP) $(1); status=$$?; rm -f $(STAMPS)/installing; exit $$status
@touch $@
endef

# torch first and alone: a local or CPU-only wheel that pip has been shown is then taken before anything else can ask for torch.
$(STAMPS)/torch: $(STAMPS)/venv constraints.txt
	$(call install,torch)

$(STAMPS)/study: $(STAMPS)/torch $(INPUTS)
	$(call install,-e '.[study]')

$(STAMPS)/dev: $(STAMPS)/torch $(INPUTS)
	$(call install,-e '.[study$(comma)data$(comma)bench$(comma)sklearn$(comma)dev]')
	@touch $(STAMPS)/study

$(STAMPS)/docs: $(STAMPS)/torch $(INPUTS)
	$(call install,-e '.[docs]')
