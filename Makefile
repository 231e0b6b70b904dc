# make demo, make test and make check each set up all they need.
# uv is used where it is on PATH, else venv and pip.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(shell command -v uv 2>/dev/null)
WORLD  ?= benefit
SEED   ?= 2026
OUT    ?= demo

.PHONY: help demo test check test-slow test-alone docs calibration requirements lock clean
help:             ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/python:
ifneq ($(UV),)
	uv venv --quiet --python $(PYTHON) $(VENV)
else
	$(PYTHON) -m venv $(VENV)
endif

ifneq ($(UV),)
pip_install = VIRTUAL_ENV=$(VENV) uv pip install --quiet --require-hashes -r requirements/$(1).txt \
	&& VIRTUAL_ENV=$(VENV) uv pip install --quiet --no-deps --no-build-isolation -e . && touch $@
else
pip_install = $(BIN)/python -m pip install --quiet --require-hashes -r requirements/$(1).txt \
	&& $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . && touch $@
endif

$(VENV)/.run: $(BIN)/python requirements/run.txt pyproject.toml
	$(call pip_install,run)
$(VENV)/.dev: $(BIN)/python requirements/dev.txt pyproject.toml
	$(call pip_install,dev)
	@touch $(VENV)/.run

demo: $(VENV)/.run ## run a whole simulated trial into $(OUT)/
	$(BIN)/trialkit demo --world $(WORLD) --seed $(SEED) --out $(OUT)

check: $(VENV)/.dev ## lint, types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## everything but the slow tier
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(VENV)/.dev ## the slow tier
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not alone"

test-alone: $(VENV)/.dev ## what needs a quiet machine: many processes in real time
	$(BIN)/python -m pytest -n 0 -m alone

docs: $(VENV)/.dev ## write docs/reference and the notebook again
	$(BIN)/python docs/build_reference.py
	$(BIN)/python docs/build_agreement.py
	$(BIN)/python docs/build_notebook.py
	$(BIN)/python docs/build_requirements.py --no-run

calibration: $(VENV)/.dev ## write docs/reference/calibration.md again (40 minutes)
	$(BIN)/python docs/build_calibration.py

requirements: $(VENV)/.dev ## run the tests of the requirements, write docs/reference/requirements.md
	$(BIN)/python docs/build_requirements.py

lock: ## write the lock files again (needs uv)
	uv pip compile pyproject.toml --group run --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements/run.txt
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements/dev.txt

clean: ## remove what the targets made
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
