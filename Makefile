# The whole of the set-up is here: the locked packages go into $(VENV), and a stamp says that they all arrived.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
TEST_ARGS ?=

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PARTIAL := $(VENV)/.installing

.PHONY: help search test lint setup

help:
	@echo 'make search [ARGS="trials=50 ..."]       install into $(VENV) if need be, then search over aggregation windows'
	@echo 'make test [TEST_ARGS="tests/seqconv"]    the same set-up, then every test, the slow ones too'
	@echo 'make lint                                ruff and mypy'
	@echo 'make setup                               the set-up alone; PYTHON=python3.12 chooses the interpreter'

search: $(STAMP)
	$(PY) search.py search_space=windowed $(ARGS)

# The slow ones start commands that use all cores, but wait for one another most of the time: two files at a time.
# Exit code 5: there are none.
test: $(STAMP)
	$(PY) -m pytest -m "not slow" -n auto --maxprocesses 8 --dist loadfile $(TEST_ARGS) || [ $$? -eq 5 ]
	$(PY) -m pytest -m slow -n 2 --dist loadfile --durations=25 $(TEST_ARGS) || [ $$? -eq 5 ]

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name one with PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the locked packages into $(VENV): about 2.5 minutes and 6.4 GB"
	@if [ -e "$(PARTIAL)" ]; then rm -rf "$(VENV)"; fi
	@mkdir -p "$(VENV)" && rm -f "$(STAMP)" && touch "$(PARTIAL)"
	@[ -x "$(PY)" ] || $(PYTHON) -m venv "$(VENV)"
	$(PY) -m pip install --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mv "$(PARTIAL)" "$(STAMP)"
