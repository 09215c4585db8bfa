# make setup   creates .venv (PYTHON=python3.12 chooses the interpreter)
# make demo    setup, then the default recipe from audio to report
# make test    setup, then the whole test suite
PYTHON ?= python3
VENV ?= .venv
SHELL := /bin/bash
STAMP := $(VENV)/.installed

.PHONY: setup demo test bench lint help

help:
	@sed -n 's/^# //p' Makefile

setup: $(STAMP)

$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	sys.exit(0 if (3, 9) <= v < (3, 14) else "E_PYTHON: $(PYTHON) is Python %d.%d, \
	need 3.9 to 3.13. Do: make setup PYTHON=/path/to/python3.11." % v)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "E_PYTHON: $(PYTHON) has no venv module. Do: apt-get install python3-venv." >&2; exit 78; }
	@date '+setup: installing into $(VENV) (2-5 minutes), started %T'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -e '.[plot,test]' || { \
	echo "E_SETUP: pip did not finish in $(VENV), which needs 6 GB; $$(df -Ph . | awk 'NR == 2 {print $$4}') \
	are free. Do: see pip's message above, then make setup again." >&2; exit 78; }
	@touch $(STAMP)
	@date '+setup: done at %T'

demo: setup
	cd egs2/prompts_topdown/asr1 && ./run.sh

test: setup
	$(VENV)/bin/python -m pytest

bench: setup
	$(VENV)/bin/python bench/lstm_cpu.py
	$(VENV)/bin/python bench/lstm_cpu.py --model ctc_att
	$(VENV)/bin/python bench/decode.py

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	git ls-files '*.sh' | xargs -r shellcheck -x -e SC1091
