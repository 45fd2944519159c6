# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the verbs. Only these need root (directly or through sudo):
# setup, when something is to be installed; demo, test and e2e, because network
# namespaces and Open vSwitch do.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Open vSwitch's programs live in sbin, which a plain user's PATH lacks on Debian.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

FUZZTIME ?= 10s
SOAKTIME ?= 1800
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Tests that need root run their compiled binaries through sudo; the compiler
# and its caches stay the caller's. Expanded only where it is used.
AS_ROOT = $(shell [ "$$(id -u)" = 0 ] || echo "-exec 'sudo -E env PATH=$(PATH)'")
# The end-to-end tests run on their own, after the rest.
UNIT = $$(go list ./... | grep -v '/test/e2e')

.PHONY: help
help: ## list the verbs
	@echo 'make demo and make test do all set-up themselves. The verbs:'
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12

.PHONY: setup
setup: ## install what the demo and the tests need (root, only if something is missing)
	@scripts/setup.sh

.PHONY: build
build: ## build bin/nagare, one static binary
	CGO_ENABLED=0 go build -trimpath -o bin/nagare ./cmd/nagare

.PHONY: demo
demo: setup build ## install, build, raise the two-node laboratory, run the walk-through, leave it running (root)
	@scripts/demo.sh

.PHONY: test
test: setup build ## every test: go vet, packages, then end to end on real Open vSwitch (root)
	go vet ./...
	go test -p 2 -timeout 10m $(AS_ROOT) $(UNIT)
	@$(MAKE) --no-print-directory run-e2e

.PHONY: e2e
e2e: setup build run-e2e ## the end-to-end tests alone (root)

.PHONY: e2e-vm
e2e-vm: setup build ## with virtual machines: the walk-through's end, and libvirt plugging; installs libvirt and QEMU, fetches two kernels (root)
	@scripts/setup.sh libvirt
	@scripts/guest.sh libvirt
	NAGARE_BIN=$(CURDIR)/bin/nagare go test -tags vm -count=1 -timeout 10m -run 'TestVirtualMachines|TestLibvirt' $(AS_ROOT) ./test/e2e

# Not a verb: what e2e and test share, once set-up and build are done.
.PHONY: run-e2e
run-e2e:
	@if [ -d test/e2e ]; then set -x; \
		NAGARE_BIN=$(CURDIR)/bin/nagare go test -count=1 -p 1 -timeout 15m $(AS_ROOT) ./test/e2e/...; \
	fi

.PHONY: race
race: ## the packages' tests under the race detector (root)
	@scripts/setup.sh race
	go test -race -p 2 -timeout 20m $(AS_ROOT) $(UNIT)

.PHONY: lint
lint: ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')) && \
		if [ -n "$$unformatted" ]; then printf 'gofmt: not formatted, run gofmt -w on:\n%s\n' "$$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: compat
compat: ## gophercloud's acceptance tests for the network service: what passes, fails, is skipped, and why
	@NAGARE_COMPAT=1 go test -count=1 -timeout 15m -v -run 'TestCompat$$' ./test/compat | grep -vE '^(=== |PASS|--- PASS)'; exit $${PIPESTATUS[0]}

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10s)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

.PHONY: bench
bench: ## every benchmark, then one table of figures against limits and peers
	@scripts/bench.sh

.PHONY: soak
soak: ## repeat the tests under the race detector for SOAKTIME seconds (1800)
	@scripts/setup.sh race
	@SOAKTIME=$(SOAKTIME) scripts/soak.sh

.PHONY: docs
docs: ## write the generated documents anew (docs/pipeline.md)
	go generate ./...
