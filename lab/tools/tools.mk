# Builds the laboratory's servers and the pinned tools into the cache. Included by
# the Makefile; every tool is its own Go module (or a pom, or a requirements file)
# beside this file, and is built again only when those files change.
#
#   make tools       everything that a demo and the tests need
#   make tools-lint  golangci-lint and workflowcheck
#   make tools-bench mc and rclone, which make bench measures against
#   make tools-spark Spark with Delta (530 MB), which make verify-spark reads tables with
#
# What a build says goes to $(CACHE)/log/<tool>.log; the terminal gets one line.

TOOLS_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
CACHE ?= .cache
CACHE_ABS := $(abspath $(CACHE))
TOOLS_BIN := $(CACHE_ABS)/bin
TOOLS_LOG := $(CACHE_ABS)/log
KAFKA_LIB := $(CACHE_ABS)/kafka/lib
PYTHON := $(CACHE_ABS)/python/bin/python
SPARK := $(CACHE_ABS)/spark

comma := ,

# $(call need,program,what to do): one sentence when a prerequisite is missing.
need = command -v $(1) >/dev/null 2>&1 || { echo "error: $(1) is not on the PATH: $(2)" >&2; exit 1; }

# $(call build,name,how long,module folder,command): runs the command in the
# folder, with its output in a log whose end is shown when it fails.
define build
@$(call need,go,install Go 1.26.8 or newer from https://go.dev/dl)
@mkdir -p $(TOOLS_BIN) $(TOOLS_LOG)
@printf 'building %s (%s) …\n' '$(1)' '$(2)'; start=$$(date +%s); \
if (cd '$(3)' && $(4)) >'$(TOOLS_LOG)/$(1).log' 2>&1; \
then printf 'built    %s in %d s\n' '$(1)' $$(($$(date +%s) - start)); \
else status=$$?; rm -f '$@'; tail -n 15 '$(TOOLS_LOG)/$(1).log' >&2; \
  echo 'error: $(1) was not built: the whole output is in $(TOOLS_LOG)/$(1).log' >&2; exit $$status; fi
endef

.PHONY: tools tools-demo tools-lint tools-bench tools-spark tools-check
tools-demo: tools-check $(TOOLS_BIN)/temporal-lab $(TOOLS_BIN)/minio $(TOOLS_BIN)/bao-lab $(KAFKA_LIB)/.stamp $(CACHE_ABS)/python/.stamp
tools: tools-demo $(TOOLS_BIN)/tctl ## build the laboratory's servers (cold about 12 min on 2 cores, all of it compiling)
tools-lint: $(TOOLS_BIN)/golangci-lint $(TOOLS_BIN)/workflowcheck ## build the linters
tools-bench: $(TOOLS_BIN)/mc $(TOOLS_BIN)/rclone ## build what the benchmarks measure against
tools-spark: $(SPARK)/.stamp ## install Spark with Delta, a third reader of tables

# All that is missing is said at once, before minutes of compiling.
tools-check:
	@missing=0; miss() { echo "error: $$1" >&2; missing=1; }; \
	command -v go >/dev/null 2>&1 || miss 'no go on the PATH: install Go 1.26.8 or newer from https://go.dev/dl'; \
	command -v g++ >/dev/null 2>&1 || miss 'no g++ on the PATH: install gcc and g++: DuckDB, which answers SQL, is linked in'; \
	if command -v java >/dev/null 2>&1; then \
	  v=$$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1); \
	  [ "$${v:-0}" -ge 17 ] || miss "java on the PATH is version $${v:-unknown}: Kafka needs 17 or newer"; \
	else miss 'no java on the PATH: install a Java runtime, 17 or newer, for the Kafka brokers'; fi; \
	command -v mvn >/dev/null 2>&1 || miss 'no mvn on the PATH: install Apache Maven, which fetches the Kafka jars'; \
	if command -v python3 >/dev/null 2>&1; then \
	  python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || miss 'python3 has no venv module: install it (python3-venv on Debian and Ubuntu), for the tests with delta-rs'; \
	else miss 'no python3 on the PATH: install Python 3.10 or newer, for the tests with delta-rs'; fi; \
	command -v ssh-keygen >/dev/null 2>&1 || miss 'no ssh-keygen on the PATH: install the OpenSSH client, which signs approvals'; \
	exit $$missing

$(TOOLS_BIN)/temporal-lab: $(addprefix $(TOOLS_DIR)/temporal/,go.mod go.sum main.go attributes.go)
	$(call build,temporal-lab,3-5 min,$(TOOLS_DIR)/temporal,go build -buildvcs=false -o $@ .)

$(TOOLS_BIN)/bao-lab: $(addprefix $(TOOLS_DIR)/openbao/,go.mod go.sum main.go)
	$(call build,bao-lab,2-3 min,$(TOOLS_DIR)/openbao,go build -buildvcs=false -o $@ .)

$(TOOLS_BIN)/minio: $(addprefix $(TOOLS_DIR)/minio/,go.mod go.sum)
	$(call build,minio,2-3 min,$(TOOLS_DIR)/minio,go build -buildvcs=false -o $@ github.com/minio/minio)

$(TOOLS_BIN)/tctl: $(addprefix $(TOOLS_DIR)/tctl/,go.mod go.sum)
	$(call build,tctl,1-2 min,$(TOOLS_DIR)/tctl,go build -buildvcs=false -o $@ github.com/temporalio/tctl/cmd/tctl)

$(TOOLS_BIN)/mc: $(addprefix $(TOOLS_DIR)/bench/mc/,go.mod go.sum)
	$(call build,mc,1-2 min,$(TOOLS_DIR)/bench/mc,go build -buildvcs=false -o $@ github.com/minio/mc)

$(TOOLS_BIN)/rclone: $(addprefix $(TOOLS_DIR)/bench/rclone/,go.mod go.sum)
	$(call build,rclone,5-15 min,$(TOOLS_DIR)/bench/rclone,go build -buildvcs=false -o $@ github.com/rclone/rclone)

$(TOOLS_BIN)/golangci-lint: $(addprefix $(TOOLS_DIR)/lint/,go.mod go.sum)
	$(call build,golangci-lint,3-4 min,$(TOOLS_DIR)/lint,go build -buildvcs=false -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

$(TOOLS_BIN)/workflowcheck: $(addprefix $(TOOLS_DIR)/lint/,go.mod go.sum)
	$(call build,workflowcheck,a few s,$(TOOLS_DIR)/lint,go build -buildvcs=false -o $@ go.temporal.io/sdk/contrib/tools/workflowcheck)

$(KAFKA_LIB)/.stamp: $(TOOLS_DIR)/kafka/pom.xml
	@$(call need,mvn,install Apache Maven)
	@rm -rf $(KAFKA_LIB)
	@mkdir -p $(KAFKA_LIB)
	$(call build,kafka-jars,15 s,$(TOOLS_DIR)/kafka,mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(KAFKA_LIB) && touch $@)

$(CACHE_ABS)/python/.stamp: $(TOOLS_DIR)/python/requirements.txt
	@$(call need,python3,install Python 3.10 or newer)
	@rm -rf $(CACHE_ABS)/python
	$(call build,python-delta-rs,20 s,$(TOOLS_DIR)/python,python3 -m venv $(CACHE_ABS)/python && $(PYTHON) -m pip install -q --disable-pip-version-check -r requirements.txt && touch $@)

# Delta's own jars alone: what else they need, pyspark brings.
$(SPARK)/.stamp: $(addprefix $(TOOLS_DIR)/spark/,requirements.txt pom.xml)
	@$(call need,python3,install Python 3.10 or newer)
	@$(call need,mvn,install Apache Maven)
	@rm -rf $(SPARK)
	@mkdir -p $(SPARK)
	$(call build,spark,30 s,$(TOOLS_DIR)/spark,python3 -m venv $(SPARK)/python && $(SPARK)/python/bin/python -m pip install -q --disable-pip-version-check -r requirements.txt && mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DincludeGroupIds=io.delta$(comma)io.unitycatalog -DoutputDirectory=$(SPARK)/jars && touch $@)
