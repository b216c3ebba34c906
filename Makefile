# One command a job; `make help` lists them. The environment in .venv is made from PYTHON and requirements.lock, that
# of the client libraries in .venv-clients from requirements-clients.lock.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENTS := $(VENV)-clients

.DEFAULT_GOAL := help
.PHONY: help run demo test unit unit-models unit-others setup clients lint format lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: demo ## train the demo's models if they are missing, then serve them (Ctrl-C stops)
	@exec $(BIN)/millrace run serve_config.yaml

demo: setup
	@$(BIN)/python -m examples.digits.train

# Two at a time up to the tests with servers, which start more processes than there are cores.
test: setup ## format, lint, types, import layers, then every test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit lint clients
	$(BIN)/python -m pytest --ignore=tests/unit

unit: unit-models unit-others ## the tests without Ray; two at a time with --jobs=2

# As long as all the others, which are whatever is not named here.
MODELS_TESTS := tests/unit/servables tests/unit/graphs
unit-models: demo
	$(BIN)/python -m pytest -q $(MODELS_TESTS)

unit-others: demo
	$(BIN)/python -m pytest -q tests/unit $(MODELS_TESTS:%=--ignore=%)

lint: setup ## format check, lint, types and import layers, without the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## rewrite the sources in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(STAMP) ## make .venv and install what requirements.lock pins

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Millrace needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

clients: $(CLIENTS)/.installed ## make .venv-clients: client libraries for tests/clients, whose pins clash with ours

# No pip inside and nothing compiled: it takes half as long.
$(CLIENTS)/.installed: requirements-clients.lock | $(STAMP)
	$(BIN)/python -m venv --clear --without-pip $(CLIENTS)
	$(BIN)/python -m pip --python $(CLIENTS)/bin/python install --quiet --disable-pip-version-check \
		--no-compile --no-deps -r requirements-clients.lock
	@touch $@

lock: setup ## resolve the dependencies of pyproject.toml into both lock files again
	$(BIN)/python -m pip install --quiet uv
	BIN=$(BIN) scripts/lock.sh

clean: ## remove the environment and every cache; trained models stay
	rm -rf $(VENV) $(CLIENTS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
