#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Writes what follows from the Go types in api/: their deepcopy methods and the
# CRDs in config/crd. Run it after every change there; commit what it writes.
set -eu
cd "$(dirname "$0")/.."

controller_gen() {
	go tool -modfile=tools/go.mod controller-gen "$@"
}

controller_gen object paths=./api/...
controller_gen crd:maxDescLen=10000 paths=./api/... output:crd:dir=config/crd
