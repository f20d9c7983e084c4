# `make` lists what there is. Everything runs in .venv, which the first target that needs it makes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
STAMP := .tidemark/setup
PROCESSES ?= 2

.PHONY: help setup test demo drill drill-alerts drill-fulfilment drill-rebuild up bench bench-costs bench-letters bench-pages test-faults lint format console test-console test-clickhouse audit-packages sbom compose-env clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the locked dependencies

$(STAMP): pyproject.toml uv.lock deploy/bootstrap.sh
	@deploy/bootstrap.sh

test: lint ## check everything: ruff, mypy, import-linter, pytest
	$(BIN)/pytest tests --ignore=tests/benchmarks -m "not slow" -n $(PROCESSES) --dist loadgroup $(ARGS)

demo: $(STAMP) ## real orders through real servers, compared with their source (ARGS="--orders 20000")
	@$(BIN)/tidemark demo $(ARGS)

drill: $(STAMP) ## a projection fails: see, fix, canary, replay, compare
	@$(BIN)/tidemark drill poison $(ARGS)

drill-alerts: $(STAMP) ## freeze stores, kill the relay, poison an event: does each alert fire and end in time? (ARGS="--fault redis")
	@$(BIN)/tidemark drill alerts $(ARGS)

drill-fulfilment: $(STAMP) ## 10,000 managed orders while every process and server is killed (ARGS="--orders 1000")
	@$(BIN)/tidemark drill fulfilment $(ARGS)

drill-rebuild: $(STAMP) ## read models are rebuilt, compared and switched while orders arrive (ARGS="--all": 155,848 baskets)
	@$(BIN)/tidemark drill rebuild $(ARGS)

up: $(STAMP) ## start everything and stay; Ctrl-C stops it
	@$(BIN)/tidemark up $(ARGS)

bench: $(STAMP) ## orders a second and lag, beside a bare yardstick, as JSON
	@$(BIN)/python -m tests.benchmarks.end_to_end $(ARGS)

bench-costs: $(STAMP) ## what metrics, traces, authentication and sealed personal data cost, in turns, as JSON (ARGS="--only metrics,personal")
	@$(BIN)/python -m tests.benchmarks.costs $(ARGS)

bench-letters: $(STAMP) ## a day with 100,000 dead letters: answers, and replay beside the normal rate, as JSON
	@$(BIN)/python -m tests.benchmarks.dead_letters $(ARGS)

bench-pages: $(STAMP) ## product pages, search and dashboards beside the joins they stand for, as JSON (ARGS="--products 1000000 --lines 10000000")
	@$(BIN)/python -m tests.benchmarks.pages $(ARGS)

test-faults: $(STAMP) ## kill each process and server in the middle of a run
	timeout --kill-after=60 3600 $(BIN)/pytest tests/faults tests/unit/fulfilment tests/e2e/test_deadly_event.py tests/e2e/test_rebuild_drill.py -m "" -n $(PROCESSES) --dist loadfile $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: $(STAMP) ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

console: $(STAMP) ## build the console's pages into query_service/console (needs Node 20.19 or later)
	@deploy/console/build.sh --check

test-console: $(STAMP) ## every page of the console in a browser, on a running system
	$(BIN)/pytest tests/browser -m "" -p no:xdist $(ARGS)

test-clickhouse: $(STAMP) ## the contract of read stores on ClickHouse, in the process (installs 181 MB, once)
	@deploy/packages.sh clickhouse
	$(BIN)/pytest tests/contract/clickhouse -p no:xdist $(ARGS)

audit-packages: $(STAMP) ## look every locked package up in a database of known vulnerabilities (exit code 3: unreachable)
	@deploy/packages.sh audit

sbom: $(STAMP) ## write dist/sbom.cdx.json: every locked package with its hashes (CycloneDX)
	@deploy/packages.sh sbom

compose-env: ## generate passwords for docker compose, once; those that are there stay
	@deploy/compose-env.sh .env

clean: ## remove .venv, caches and the data that `make up` keeps
	rm -rf .venv .tidemark dist deploy/console/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
