# make help lists the targets. Whatever is needed is built or installed into
# $(CACHE), which git ignores; nothing outside this folder is touched.

.DEFAULT_GOAL := help
SHELL := /bin/bash
CACHE ?= .cache
SEEDS ?= 30
GO ?= go
export BREAKWATER_PYTHON := $(abspath $(CACHE))/python/bin/python

include lab/tools/tools.mk

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD := $(GO) build -buildvcs=false -trimpath -ldflags '-X breakwater/internal/config.release=$(VERSION)'

.PHONY: help build demo test test-fast torture verify-spark bench lint replay docs clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/breakwater, bin/breakwater-worker and bin/breakwater-lab
	@$(call need,g++,install a C++ compiler (gcc and g++): DuckDB is linked in)
	@mkdir -p bin
	$(BUILD) -o bin/breakwater ./starter
	$(BUILD) -o bin/breakwater-worker ./worker
	$(BUILD) -o bin/breakwater-lab ./lab/cmd/breakwater-lab
	$(BUILD) -o bin/breakwater-demo ./lab/cmd/breakwater-demo

# Two builds at once, after everything that is missing was said: one alone leaves
# a core idle for much of the time.
demo: tools-check ## lose a region and fail over, on real servers; leaves out/demo/report.html
	@$(MAKE) --no-print-directory -j 2 tools-demo build
	bin/breakwater-demo --bin bin --lab out/demo-lab --out out/demo

test: tools-check ## run all tests, the demo among them
	@$(MAKE) --no-print-directory -j 2 tools
	./.ci/test

test-fast: ## run the tests that need no server
	$(GO) test $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./activities/... ./internal/... | grep -v ' .*breakwater/lab' | cut -d ' ' -f 1)

torture: tools build ## SEEDS random disasters, and a worker killed at every point
	BREAKWATER_TORTURE=1 SEEDS=$(SEEDS) $(GO) test ./lab/torture ./workflows ./activities/... ./internal/table/delta/rollback ./internal/objectstore/s3 ./lab/kafka -run "TestTorture|TestTakenBack|TestPair|TestKilled|TestWorkerKilled|TestFault|TestEach|TestAlwaysPass|TestAny" -count=1 -timeout 6h -v

verify-spark: tools-check $(TOOLS_BIN)/minio tools-spark ## let Spark read what rollback, promotion, rewind and restore leave; not part of make test
	BREAKWATER_SPARK=$(SPARK)/python/bin/python $(GO) test ./activities/table -run TestSparkReads -count=1 -v -timeout 30m

bench: tools tools-bench ## measure, as ratios from one run
	$(GO) test ./internal/recovery ./internal/table/delta ./internal/table/delta/rollback ./internal/table -run xxx -bench . -benchtime 2x
	BREAKWATER_BENCH=1 $(GO) test ./internal/table/delta/rollback -run TestRollbackSpeed -count=1 -v -timeout 30m
	BREAKWATER_BENCH=1 $(GO) test ./internal/ledger ./internal/table/delta ./internal/table/location ./internal/witness -p 1 -run 'TestSpeedOf|TestMemoryOf' -count=1 -v -timeout 60m
	BREAKWATER_BENCH=1 $(GO) test ./activities/group -run TestMemoryOfAGroup -count=1 -v -timeout 90m
	BREAKWATER_BENCH=1 $(GO) test ./internal/objectstore/compare -run TestSpeedOfComparison -count=1 -v -timeout 60m
	BREAKWATER_BENCH=1 $(GO) test ./workflows -run TestOverhead -count=1 -v -timeout 30m
	BREAKWATER_BENCH=1 $(GO) test ./activities/storage -run 'TestBench(Rewind|Undelete)' -count=1 -v -timeout 60m
	BREAKWATER_BENCH=1 $(GO) test ./internal/query/duckdb -run TestSpeed -count=1 -v

lint: tools-lint ## golangci-lint with the layers as rules, and workflowcheck
	$(TOOLS_BIN)/golangci-lint run ./...
	$(TOOLS_BIN)/workflowcheck -config workflows/workflowcheck.yaml ./workflows/...

replay: tools ## replay the stored histories
	$(GO) test ./workflows -run TestReplay -count=1

docs: ## write the generated pages of docs/
	$(GO) test ./internal/docs -update

clean: ## remove what was built here, but not the servers in the cache
	rm -rf bin out
