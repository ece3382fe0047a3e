// SPDX-License-Identifier: Apache-2.0

// Package manifest reads files with configuration objects as kubectl does, and lays them
// over the configuration that a cluster has.
//
// It owns the reading of YAML and JSON, strictly: a field that the kind does not have, or
// a kind that is no configuration, is an error that names file, document and field. What
// an object means is the business of package lb, and whether the API server takes it, of
// the API server. It starts no goroutine.
package manifest
