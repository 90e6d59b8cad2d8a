# `make` alone says what there is. Every target sets up what it needs on a machine that has Rust and nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo pictures test conformance lint image bench bench-core bench-causes fuzz-smoke ci

# rustup puts cargo here, and a shell opened before the installation does not know.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## follow one report, then twenty at once, through API and workers on this machine; KEEP=1 leaves it running, with a web page
	@KEEP='$(KEEP)' VIEW='$(VIEW)' demo-services/demo/run.sh

pictures: ## run the demo, and make anew the trees and the pictures that the documents show of it
	@.ci/make-pictures

test: ## run all tests, with the servers and the test clients installed first where they are missing
	@.ci/test

conformance: ## prove that nobody can tell the proxy from Redis; ONLY=oracle,clients,frameworks,faults,http,view,collector,article,jaeger SERVERS=redis-7.0,...
	@ONLY='$(ONLY)' SERVERS='$(SERVERS)' proxy/conformance/run.sh

lint: ## check formatting, clippy, documentation, layering, shell scripts, container files and metrics
	@.ci/run format layering scripts clippy docs containers metrics

image: ## build the sidecar's image, without Docker, into target/redistributed-image.tar
	@compose/image.sh

bench: ## measure cost beside HAProxy; QUICK=1 three minutes, FULL=1 everything, ONLY=publish,get some, ROUNDS=9, ENVOY=1
	@ENVOY='$(ENVOY)' proxy/bench/run.sh $(if $(QUICK),--quick) $(if $(FULL),--full) $(if $(ONLY),--only '$(ONLY)') \
		$(if $(ROUNDS),--rounds $(ROUNDS))

bench-core: ## count the core's instructions and allocations and compare with the baseline; UPDATE=1 rewrites it
	@proxy/bench/core.sh $(if $(UPDATE),--update)

bench-causes: ## judge inferred causes by recordings (DIR=folder) and by services behind the proxy (ONLY=rust,node or none): ten minutes
	@ONLY='$(ONLY)' proxy/bench/causes.sh $(if $(DIR),'$(DIR)')

fuzz-smoke: ## run each fuzz target for ten seconds (with a nightly toolchain), or its seeds once (without)
	@FUZZ=all .ci/run fuzz

ci: ## everything that continuous integration runs
	@.ci/run
