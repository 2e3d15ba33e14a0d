# Each target is one of the scripts, or one cargo command.

.DEFAULT_GOAL := help

# How long make fuzz runs each target.
SECONDS ?= 300

# Options for the demo and for what runs long, as in: make demo ARGS="--listen 127.0.0.1:4100"
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  make demo ARGS="--database-url postgres://..."   the demo on a database of yours'
	@echo '  make demo ARGS="--help"                          all options of the demo'

.PHONY: demo
demo: ## See it live: a marketplace, its traffic and the page, on a throw-away Postgres
	@exec scripts/demo $(ARGS)

.PHONY: build
build: ## Build the release binary, target/release/rowcast
	cargo build --release --locked --bin rowcast

.PHONY: test
test: ## Run every check and test, installing what they need
	@exec scripts/test

.PHONY: chaos
chaos: ## Ten minutes of faults under load; ARGS="--seconds 120 --seed 7"
	@exec scripts/chaos $(ARGS)

.PHONY: soak
soak: ## An hour of sockets that come and go; ARGS="--seconds 1200"
	@exec scripts/soak $(ARGS)

.PHONY: log-life
log-life: ## Ten million changes through a small log; ARGS="--changes 1000000"
	@exec scripts/log-life $(ARGS)

.PHONY: test-postgres-versions
test-postgres-versions: ## Run the integration tests on Postgres 14, 15, 16, 17 and 18
	@exec scripts/test versions

.PHONY: lint
lint: ## Check formatting, clippy, the migrations and the scripts
	@scripts/setup-tests
	@exec scripts/test lint

.PHONY: bench
bench: ## Measure against hand-written peers, in 20 minutes; a part: ARGS="--only writers --runs 3"
	@exec scripts/bench $(ARGS)

.PHONY: fuzz
fuzz: ## Run every fuzz target for five minutes, or: make fuzz SECONDS=3600
	@exec scripts/fuzz $(SECONDS)

.PHONY: audit
audit: ## Check licenses, sources and advisories of the dependencies
	@scripts/setup-tests
	@exec scripts/audit

.PHONY: fmt
fmt: ## Format the Rust code
	cargo fmt --all

.PHONY: clean
clean: ## Delete what was built and installed in this directory
	cargo clean
	find . -name node_modules -prune -exec rm -rf {} +
