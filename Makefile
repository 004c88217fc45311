# Every target does its own set-up (tools/setup.sh: idempotent, under a second when nothing changed).
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-core test-sim test-tools test-adapters test-network test-browser browser screenshots dashboards dashboard-schema dashboard-pictures lint format types bench vectors lock soak sbom audit clean test-compose

# Programs are compiled once and not at each start, also where the environment forbids bytecode beside the sources.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
unexport PYTHONDONTWRITEBYTECODE

VENV_PYTHON := .venv/bin/python
PYTEST := $(VENV_PYTHON) -m pytest
ARGS ?=
MINUTES ?= 30
WORKERS ?= 3

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Install everything that demo and test need (.venv, and mosquitto if it is missing)
	@sh tools/setup.sh

demo: setup  ## Three members meter, mine and trade on this machine; ONCE=1 ends by itself after the checks
	@.venv/bin/minervas-devnet demo $(if $(filter 1 yes true,$(ONCE)),--once) $(ARGS)

browser: setup  ## Install Chromium and a Korean font, which only the browser tests need
	@sh tools/browser.sh

test: browser  ## Run all tests but those of soak, in WORKERS=3 processes (ARGS="-k word" for some of them)
	@$(PYTEST) --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-core: setup  ## Only the protocol rules: no process, no socket, no file
	@$(PYTEST) tests/core $(ARGS)

test-sim: setup  ## Only simulated networks, seconds of seeds (ARGS="-m soak" for many)
	@$(PYTEST) tests/sim $(ARGS)

test-tools: setup  ## Only the tests of the tools in tools/
	@$(PYTEST) tests/tools $(ARGS)

test-adapters: setup  ## Only the adapters, against a real Mosquitto and a real PostgreSQL
	@$(PYTEST) tests/adapters $(ARGS)

test-network: setup  ## Only whole networks of real service processes
	@$(PYTEST) tests/network $(ARGS)

test-browser: browser  ## Only the web pages, in a real Chromium
	@$(PYTEST) tests/browser $(ARGS)

test-compose: browser  ## The deployment: docker compose on a real engine, which is prepared if there is none (minutes)
	@sh tests/compose/engine.sh start build/engine
	@set -a && . build/engine/env && set +a && status=0 && { $(PYTEST) -s tests/compose $(ARGS) || status=$$?; } \
		&& sh tests/compose/engine.sh stop build/engine && exit $$status

screenshots: browser  ## Take the pictures of the web pages in docs/screens again
	@$(VENV_PYTHON) -m tools.screenshots

dashboards: setup  ## Write Grafana's dashboards and alert rules in infra/grafana again
	@$(VENV_PYTHON) -m tools.dashboards

dashboard-pictures: browser  ## Draw the pictures of the dashboards in docs/screens again (needs npm; 640 MB below build/)
	@$(VENV_PYTHON) -m tools.dashboard_pictures $(ARGS)

dashboard-schema: setup  ## Make the schema again that dashboards are checked against (needs npm)
	@sh tools/grafana_schema/make.sh

lint: setup  ## Style, spelling, import contracts, purity of core, requirement sets
	@sh tools/lint.sh

format: setup  ## Format the code and sort the imports
	@.venv/bin/ruff check --quiet --fix --select I . && .venv/bin/ruff format .

types: setup  ## Check the types (mypy --strict)
	@sh tools/types.sh

bench: setup  ## Measure what the design promises (table, and build/benchmarks.json)
	@$(VENV_PYTHON) -m benchmarks $(ARGS)

vectors: setup  ## Write spec/vectors again from the code
	@$(VENV_PYTHON) -m tools.vectors

lock: setup  ## Pin the dependencies again; UPGRADE=1 takes the newest versions
	@$(VENV_PYTHON) -m pip install --quiet --require-hashes -r requirements/lock.txt
	@$(VENV_PYTHON) -m tools.lock $(if $(filter 1 yes true,$(UPGRADE)),--upgrade)

soak: setup  ## Run the tests that take minutes, and others with new seeds, for MINUTES=30; says how to repeat failures
	@$(VENV_PYTHON) -m tools.soak $(MINUTES)

sbom: setup  ## Write what each service brings along to build/sbom (CycloneDX)
	@sh tools/supply_chain.sh sbom

audit: setup  ## Ask the advisory database about every pinned package (needs the network, and says so without)
	@sh tools/supply_chain.sh audit

clean:  ## Remove the virtual environment, caches and build output
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
