# SPDX-License-Identifier: Apache-2.0

SHELL    := /bin/bash -o pipefail
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
IMAGE    ?= herald-lb/herald:latest
FUZZTIME ?= 20s
FUZZED   ?= .
# Without net/trace, which nobody looks at: what it draws with keeps the linker from leaving out
# what is never called.
TAGS     := grpcnotrace
LDFLAGS  := -s -w -X github.com/herald-lb/herald/internal/run.version=$(VERSION)
CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/herald
LINT     := $(CACHE)/golangci-lint-$(shell sed -n 's|.*/golangci-lint/v2 \(v[^ ]*\).*|\1|p' tools/lint/go.mod)
# What needs no root and no cluster; the rest of ./... is judged from outside.
UNIT      = $$($(GO) list ./... | grep -v '/e2e/')
# Modules of their own, so that their dependencies are not the product's.
NESTED   := $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod | sort))
# Their tests, with every module file they have. Without the race detector: they hold data against
# Kubernetes' own code and start no goroutine, and building that code twice takes minutes.
TESTED   := $(filter-out tools tools/% e2e/lab/kubernetes,$(NESTED))

# Programs that are run are built like the binaries, or everything would be compiled a second time.
RUNNING  := CGO_ENABLED=0 $(GO) run -trimpath

.DEFAULT_GOAL := help
.PHONY: help deps root build unit test e2e fuzz lint generate verify demo lab bench failover image clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install the system packages the lab and the tests need (Debian, Ubuntu; root)
	@./tools/deps.sh

root:
	@[ "$$(id -u)" = 0 ] || { echo 'make $(MAKECMDGOALS) makes network namespaces and needs root: sudo env "PATH=$$PATH" make $(MAKECMDGOALS)' >&2; exit 1; }

build: ## Build the static binaries bin/controller, bin/speaker, bin/kubectl-herald and bin/lab
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ ./controller ./speaker ./cmd/kubectl-herald ./e2e/lab/cmd/lab

unit: ## Run the tests that need neither a cluster nor, for the most part, root
	$(GO) test -race -shuffle=on $(UNIT)

test: root deps build unit ## Run every test there is: unit, wire, API, stories (root)
	@set -e; for mod in $(wildcard $(TESTED:=/*.mod)); do echo "$$mod"; \
		(cd $$(dirname $$mod) && $(GO) test -modfile=$$(basename $$mod) -shuffle=on -count=1 ./...); done
	$(GO) test -race -shuffle=on -count=1 -p 1 -timeout 55m ./e2e/...

e2e: root deps build ## Run the stories that are judged from outside; RUN=name picks some
	$(GO) test -count=1 -v -timeout 55m ./e2e/stories/... -run '$(RUN)'

fuzz: ## Fuzz each parser for a short, fixed time; FUZZTIME=20s, FUZZED=directories
	@set -e; grep -rHoE '^func Fuzz\w+' --include='*_test.go' $(FUZZED) | while IFS=':' read -r file func; do \
		echo "$$file $${func#func }"; \
		(cd "$$(dirname "$$file")" && $(GO) test -run '^$$' -fuzz "^$${func#func }$$" -fuzzminimizetime 5x -fuzztime $(FUZZTIME) .); \
	done

lint: $(LINT) ## Run go vet and golangci-lint with the rules of the project
	$(GO) vet ./...
	$(LINT) run ./...
	@set -e; for module in $(TESTED); do echo "cd $$module"; (cd $$module && $(LINT) run ./...); done

# Building it takes minutes, so it is built once, outside the tree.
$(LINT):
	@echo "building $(@F), once"
	@mkdir -p $(@D)
	@cd tools/lint && $(GO) build -trimpath -ldflags '-s -w' -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

generate: ## Write what follows from the types in api/: deepcopy and CRDs
	@./tools/generate.sh

verify: ## Check that generated files and every go.mod are up to date
	@before=$$(find api config/crd -type f | sort | xargs sha256sum); $(MAKE) --no-print-directory generate; \
		[ "$$before" = "$$(find api config/crd -type f | sort | xargs sha256sum)" ] || \
		{ echo "verify: generated files were out of date; make generate has written them: commit them" >&2; exit 1; }
	@set -e; for mod in go.mod $(wildcard $(NESTED:=/*.mod)); do \
		(cd $$(dirname $$mod) && $(GO) mod tidy -modfile=$$(basename $$mod) -diff) || \
		{ echo "verify: run go mod tidy for $$mod" >&2; exit 1; }; done

demo: root deps build ## Watch it work: a cluster, a Service, a client, a node that dies; KEEP=1
	@KEEP='$(KEEP)' $(RUNNING) ./e2e/demo

lab: root deps build ## Bring up the lab and leave it running (bin/lab down ends it)
	bin/lab up

bench: root deps build ## Measure, each figure beside its limit, into out/bench.json; ONLY=name picks
	$(RUNNING) ./e2e/bench $(if $(ONLY),-only '$(ONLY)')

failover: root deps build ## Measure what a client misses when a node dies; ARGS='-nodes 9 -fault cut'
	$(RUNNING) ./e2e/bench/failover $(ARGS)

image: build ## Assemble the container image, without a registry, into out/herald.tar
	@./tools/deps.sh image
	@IMAGE='$(IMAGE)' VERSION='$(VERSION)' ./tools/image.sh

clean: ## Remove what was built here
	rm -rf bin out
