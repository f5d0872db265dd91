# Thin: every target calls a tool. Needs Python 3.11+, make, git; brings uv itself.
SHELL := /bin/bash
VENV := .venv
TOOLS := .venv-tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := $(VENV)/bin
PROGRAMS := etcd kube-apiserver kube-controller-manager kube-scheduler kubectl helm
# Thousands of processes start here: what they import is compiled once.
export PYTHONDONTWRITEBYTECODE :=
# Files that are tested at once: much of a test is waiting, and each worker has a cluster of 1 GiB.
JOBS ?= $(shell python3 -c "import os; print(min(8, (os.cpu_count() or 2) + 1))")
CRD := crds/trainingoperations.headway.dev.yaml

.PHONY: help sync programs helm judges kueue demo test unit integration chaos bench images e2e dist \
	release-check lint format crd manifests clean

help: ## what there is to make
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(TOOLS)/bin/uv:
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet uv

sync: $(if $(findstring $(TOOLS),$(UV)),$(TOOLS)/bin/uv) ## the locked environment, in .venv
	@echo "preparing the Python environment in $(VENV)"
	@$(UV) sync --quiet --frozen --all-packages --all-extras

demo: sync ## see all of it: a cluster, data, a training, a cancel (then: headway cluster down)
	@$(RUN)/headway demo
	@echo "The headway command is in $(RUN): source $(RUN)/activate"

programs: judges kueue ## the control plane that tests run on, and Helm: built once, then cached
	@$(RUN)/python -m headway_cluster.binaries $(PROGRAMS) >/dev/null

helm: sync ## Helm alone, for the chart
	@$(RUN)/python -m headway_cluster.binaries helm >/dev/null

judges: sync ## Argo CD's, Flux's and kstatus' own code, for the GitOps kit
	@$(RUN)/python tests/support/gitops_judges.py

kueue: sync ## Kueue's own controllers, for the tests of queues
	@PYTHONPATH=tests/support $(RUN)/python tests/support/kueue_manager.py

test: programs ## every test, JOBS files at a time (a processor each and one more), the slow ones first
	$(RUN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

unit: helm judges ## the pure tests only
	$(RUN)/pytest tests/unit

integration: programs ## the tests against a real API server only
	$(RUN)/pytest tests/integration

chaos: programs ## half an hour of random histories, and trainings interrupted in every way
	$(RUN)/pytest --hypothesis-profile=default tests/unit/operator/test_no_sequence_of_events_breaks_a_promise.py
	$(RUN)/pytest -s tests/chaos

bench: programs ## measure: a table, and bench-results/bench.json
	$(RUN)/python tests/bench/bench.py

images: sync ## the container images, in build/images/: by docker, podman or buildah
	$(RUN)/python images.py $(if $(BASE),--base $(BASE)) $(if $(BUILD_BASE),--build-base $(BUILD_BASE))

e2e: sync ## the tests in real containers on a kind cluster: Docker's, or one of our own making
	$(RUN)/python tests/e2e/run.py

dist: helm ## wheels, source distributions and the chart, in dist/
	@$(RUN)/python release dist

release-check: sync ## the release checklist: what has passed, what is left to a person
	@$(RUN)/python release check

lint: helm ## format, lint, types, import directions, drift of generated files
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/headway-crd check $(CRD)
	$(RUN)/python helm/manifests.py check
	$(RUN)/python release versions

format: sync ## format and mend what can be mended
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

crd: sync ## render the CRD from the models
	$(RUN)/headway-crd render $(CRD)

manifests: crd ## render what `headway install` applies from the chart
	HELM=$$($(RUN)/python -m headway_cluster.binaries helm) $(RUN)/python helm/manifests.py render

clean: ## remove what was made here
	rm -rf $(VENV) $(TOOLS) build dist bench-results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
