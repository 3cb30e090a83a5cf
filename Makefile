# Everything a person or CI runs. `make` alone says what there is.
#
# What is expensive to build lies outside the clone, keyed by its inputs, so that a second
# clone or a second run starts warm.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cloister
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/bin:$(PATH)

# One profile for the operator and for what tests it: nothing of it is built twice.
CARGO_FLAGS := --release --workspace
# What asks nothing of the machine but Rust, or Go as well.
PLAIN := build lint fmt deny generate test-units help
OUT = $(shell echo $(CARGO_TARGET_DIR)/*-linux-gnu/release)

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: build ## Start a three-zone cluster (or use $KUBECONFIG), install, show tenants, runs, a lost zone
	@KEEP=1 tests/with-cluster tests/demo

# What waits runs beside what works: together they take the time of the longer.
.PHONY: test
test: build ## Everything that CI runs
	$(MAKE) --jobs=2 --output-sync=none deny test-units test-local-cluster
	$(MAKE) test-jail
	$(MAKE) --jobs=2 --output-sync=none test-cluster beside-cluster

.PHONY: test-units
test-units: build ## Tests that need no cluster
	tests/readme check
	$(OUT)/cluster build helm
	cargo test $(CARGO_FLAGS) --quiet --lib --bins
	cargo test $(CARGO_FLAGS) --quiet --test golden --test architecture

# Not beside `test-local-cluster`, which takes these containers for something left behind; nor beside
# `test-cluster`, where a runtime's every word waits for hundreds of pods.
.PHONY: test-jail
test-jail: build ## Tests of the sandbox's supervisor in containers of their own
	$(OUT)/cluster build runc gvisor
	cargo test $(CARGO_FLAGS) --quiet --test jail

.PHONY: test-local-cluster
test-local-cluster: build ## Tests of the tool that makes the three-zone cluster
	$(OUT)/cluster build
	cargo test $(CARGO_FLAGS) --quiet --test local_cluster -- --nocapture

# Gives way to `test-cluster` beside it, which holds the operator to milliseconds, and not to `lint`, which would
# take half of what is left: servers that a compiler starves end nothing in time.
.PHONY: test-control-plane
test-control-plane: ## Tests on an API server of their own, without a node: crashes, drift, teardown, rights
	nice -n 5 cargo test $(CARGO_FLAGS) --quiet --test control_plane -- --test-threads=2 --nocapture

# One after the other, while the cluster's tests wait.
.PHONY: beside-cluster
beside-cluster:
	$(MAKE) test-control-plane
	$(MAKE) lint

.PHONY: test-cluster
test-cluster: build ## Tests on a real cluster
	@tests/with-cluster tests/on-cluster

.PHONY: test-zones
test-zones: build ## Lose every zone in every way, near half an hour, and print a table; `make test` loses one
	@ZONES=all TARGETS=zones tests/with-cluster tests/on-cluster

.PHONY: bench
bench: build ## Print figures of starts, rates, writes, memory, floors beside them
	@tests/with-cluster tests/bench

.PHONY: build
build: ## Build every binary and every test
	@tests/prerequisites $(if $(filter-out $(PLAIN),$(MAKECMDGOALS)),cluster)
	nice cargo build $(CARGO_FLAGS) --all-targets
	nice cargo build --profile sandbox --package sandbox-runtime --bin cloister-sandbox

.PHONY: lint
lint: ## Formatting and lints
	@tests/prerequisites
	cargo fmt --all --check
	nice -n 19 cargo clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: fmt
fmt: ## Format
	cargo fmt --all

.PHONY: generate
generate: ## Write again what is rendered: CRDs, manifests, chart, protocol, cases
	UPDATE_GOLDEN=1 cargo test $(CARGO_FLAGS) --quiet --test golden -- render generates
	UPDATE_GOLDEN=1 cargo test $(CARGO_FLAGS) --quiet --lib -- cases

.PHONY: deny
deny: ## Licences, sources and bans of every dependency
	@CARGO_TARGET_DIR=$(CACHE)/target-tools nice cargo install --quiet --locked --root $(CACHE)/tools cargo-deny@0.20.2
	PATH=$(CACHE)/tools/bin:$$PATH cargo deny --log-level error check bans licenses sources

.PHONY: cluster-up
cluster-up: build ## Start the three-zone cluster
	$(OUT)/cluster up

.PHONY: cluster-down
cluster-down: build ## Remove it, and every trace of it
	$(OUT)/cluster down
