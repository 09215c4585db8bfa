# make setup        creates .venv (PYTHON=python3.13 chooses the interpreter)
# make demo         setup, then a short training on open data, from audio to report
# make test         setup, then the tests for every change, as many at once as there are cores
# make lint         style, docstrings, types, shell scripts
# make bench        ratios to stock ESPnet, beside those that were recorded (minutes)
# make nightly      every test: also campaigns, real clusters, every row trained
# make mutants      changes of FILE that TESTS do not notice, by mutmut in a copy of the last commit
# make constraints  compiles the tested sets of versions anew, from what is newest today
# make canary       the newest of everything in .venv-canary: what has moved, does it work?
PYTHON ?= python3
VENV ?= .venv
VERSIONS ?= -c $$set
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
STAMP := $(VENV)/.installed
SETS := $(wildcard espnet_topdown/constraints/python*.txt)
PYTHONS := $(SETS:espnet_topdown/constraints/python%.txt=%)
UV := $(VENV)/bin/python -m uv

.PHONY: setup demo test nightly bench lint help constraints canary mutants

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(STAMP)

# An environment that is there keeps its interpreter. Without the stamp an earlier setup was
# interrupted: what it left is installed again. pip only brings uv, which brings the rest.
$(STAMP): setup.py $(SETS)
	@python=$(VENV)/bin/python do="make setup PYTHON=/path/to/python3.11"
	if "$$python" -c '' 2>/dev/null; then do="move $(VENV) away, then $$do"; else python="$(PYTHON)"; fi
	version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || version="not found"
	set=espnet_topdown/constraints/python$$version.txt
	if [ ! -e "$$set" ]; then
	    echo "E_PYTHON: $$python: Python $$version, need one of $(PYTHONS). Do: $$do." >&2; exit 78
	fi
	free() { df -Ph . | awk 'NR == 2 {print $$4}'; }
	trap '[ $$? = 0 ] || echo "E_SETUP: $(VENV) is not complete; it needs 7 GB, $$(free) are free." \
	    "Do: see the message above, then make setup again." >&2' EXIT
	date '+setup: installing into $(VENV) (1-5 minutes), started %T'
	again=--reinstall # which also fetches all anew, whatever the cache has
	if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then
	    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
	        trap - EXIT
	        echo "E_PYTHON: $$python has no venv module. Do: apt-get install python3-venv." >&2; exit 78
	    fi
	    "$$python" -m venv $(VENV)
	    again=
	fi
	$(UV) --version >/dev/null 2>&1 || \
	    $(VENV)/bin/python -m pip install --quiet --ignore-installed -c $$set uv
	if [ -e $(STAMP) ]; then again=; fi
	rm -f $(STAMP)
	$(UV) pip install --quiet --compile-bytecode $$again --python $(VENV)/bin/python $(VERSIONS) -e '.[plot,test]'
	$(VENV)/bin/python -m espnet_topdown.cli.installation
	touch $(STAMP)
	date '+setup: done at %T'

constraints: setup
	@for version in $(PYTHONS); do
	    $(UV) pip compile --quiet --upgrade --extra plot --extra test --python-version $$version \
	        --annotation-style line --custom-compile-command 'make constraints' \
	        --output-file espnet_topdown/constraints/python$$version.txt setup.py
	done
	git diff --stat -- espnet_topdown/constraints

# For a weekly look: nothing that decides whether a change lands.
canary:
	@rm -f .venv-canary/.installed
	works=true
	$(MAKE) --no-print-directory setup VENV=.venv-canary VERSIONS=--upgrade || works=false
	set=espnet_topdown/constraints/$$(ls .venv-canary/lib | tail -n 1).txt
	echo "canary: $$set (<) and the newest of everything (>)"
	diff <(sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' $$set | sort) \
	    <(.venv-canary/bin/python -m uv pip freeze --exclude-editable | grep -v '^pip=' | sort) | grep '^[<>]' || echo none
	$$works && .venv-canary/bin/python -m pytest -q -m espnet

demo: setup
	@echo "demo: 94 minutes of a game's voices (35 MB are fetched), one seed; what follows, in minutes of 2 idle"
	echo "cores: data 1; joint training of 10 epochs 9; its softmax frozen and the rest trained anew, beside"
	echo "it control warm, the same start not frozen, 10; decoding and a report 2"
	cd egs2/queen_topdown/asr1
	./run.sh --seeds "" --asr_tag demo --controls warm --asr_args "--max_epoch 10 --scheduler_conf T_max=10"
	sed -n '/^\*\*/,/^## /{s/\*\*//gp;/^- test/p}' exp/asr_demo_topdown/RESULTS.md
	echo "One seed says nothing about other trainings; six: docs/results/queen.md"

test: setup
	$(VENV)/bin/python -m pytest -n auto --dist loadfile

# Everything, one after the other: also the campaigns, real clusters, real trainings.
nightly: setup
	TOPDOWN_ROWS=all $(VENV)/bin/python -m pytest -m 'nightly or not nightly'

bench: setup
	$(VENV)/bin/python bench/harness.py

# For a module that its tests call in their own process: minutes for one of the pure core.
mutants: FILE ?= espnet_topdown/search/strategies.py
mutants: TESTS ?= test/test_search.py
mutants: setup
	@$(UV) pip install --quiet --python $(VENV)/bin/python mutmut==3.8.1
	here=$$PWD tree=$$(mktemp -d)
	trap 'rm -rf "$$tree"' EXIT
	git archive HEAD | tar -x -C "$$tree"
	cd "$$tree"
	printf '%s\n' '[mutmut]' source_paths=espnet_topdown only_mutate=$(FILE) \
	    'also_copy=' ' egs2' ' docs' ' README.md' ' setup.py' \
	    'pytest_add_cli_args_test_selection=' $(TESTS:%=' %') >setup.cfg
	"$$here/$(VENV)/bin/mutmut" run
	"$$here/$(VENV)/bin/mutmut" results

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	if command -v shellcheck >/dev/null; then
	    git ls-files '*.sh' | xargs -r shellcheck -x -e SC1091
	else
	    echo "lint: shellcheck is not installed, scripts were not checked" >&2
	fi
