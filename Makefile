# Thin: every target calls a tool. Needs Python 3.11+, make, git; brings uv itself.
SHELL := /bin/bash
VENV := .venv
TOOLS := .venv-tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := $(VENV)/bin
CRD := crds/trainingoperations.headway.dev.yaml

.PHONY: help sync test unit integration lint format crd clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(TOOLS)/bin/uv:
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet uv

sync: $(if $(findstring $(TOOLS),$(UV)),$(TOOLS)/bin/uv) ## the locked environment, in .venv
	$(UV) sync --quiet --frozen --all-packages --all-extras

test: sync ## every test
	$(RUN)/pytest

unit: sync ## the pure tests only
	$(RUN)/pytest tests/unit

integration: sync ## the tests against a real API server only
	$(RUN)/pytest tests/integration

lint: sync ## format, lint, types, import directions, drift of generated files
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/headway-crd check $(CRD)

format: sync ## format and mend what can be mended
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

crd: sync ## render the CRD from the models
	$(RUN)/headway-crd render $(CRD)

clean: ## remove what was made here
	rm -rf $(VENV) $(TOOLS) build dist bench-results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
