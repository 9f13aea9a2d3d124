# Needs Python 3.11 or newer with venv; uses uv where it is installed. No root, no services.
# Every target sets up what it needs first and is safe to run twice.
#
#   make demo    watch a real sync into a database, and answers coming out of it
#   make test    the test suite: SQLite, PostgreSQL and HTTP on loopback, all real

VENV   ?= .venv
BIN    := $(VENV)/bin
# The lock is tested on 3.11 to 3.13, so those come first; any newer one is tried after them.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done \
	|| for p in python3 python3.14; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2

.PHONY: help demo test test-slow test-exhaustive lint format types docs lock bench wheel clean

help:
	@sed -n 's/^#   make/make/p' Makefile

demo: $(VENV)/.demo
	@$(BIN)/mirror demo

test: $(VENV)/.dev
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow -n $(WORKERS) --dist worksteal $(ARGS)

test-exhaustive: $(VENV)/.dev
	$(BIN)/pytest -m exhaustive -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

bench: $(VENV)/.dev
	@for script in $(filter-out %/gen.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; done

wheel: $(VENV)/.dev
	$(BIN)/pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# Needs uv. uv.lock itself stays out of the repository: docs/decisions/001-locked-versions.md
EXPORT := uv export --quiet --frozen --no-emit-project --no-header --no-annotate
lock:
	uv lock
	$(EXPORT) --all-extras --group dev -o requirements/dev.txt
	$(EXPORT) --no-default-groups --group build --extra sandbox --extra postgres -o requirements/demo.txt

clean:
	rm -rf $(VENV) dist build .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

# requirements/dev.txt holds all of requirements/demo.txt, so whoever has the one has the other.
$(VENV)/.demo: requirements/demo.txt pyproject.toml
	@[ $(VENV)/.dev -nt requirements/demo.txt ] && [ $(VENV)/.dev -nt pyproject.toml ] || $(call install,demo)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@$(call install,dev)
	@touch $@

# uv first, being ten times faster; where it is missing, or set up for another network, venv and pip.
define install
{ \
	if [ -z "$(PYTHON)" ] && ! command -v uv >/dev/null 2>&1; then \
		echo "mirror needs Python 3.11 or newer on the PATH, or uv; name one with: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "setting up $(VENV) (requirements/$(1).txt)" >&2; \
	$(BIN)/python -c '' 2>/dev/null || rm -rf $(VENV); \
	if command -v uv >/dev/null 2>&1 \
		&& { [ -x $(BIN)/python ] || uv venv --quiet --python "$(or $(PYTHON),>=3.11,<3.14)" $(VENV); } \
		&& uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/$(1).txt \
		&& uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; then :; \
	else \
		{ [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); } \
		&& { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; } \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$(1).txt \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi; \
}
endef
