// SPDX-License-Identifier: Apache-2.0

// Package crdtest holds the CRDs in config/crd against the validation code of
// the API server itself: are they structural, does every CEL rule stay within
// the cost limits, and which manifests do they accept or refuse with which
// words.
//
// It is a module of its own so that the API server's dependencies stay out of
// the product's. go.mod follows the newest Kubernetes; kubernetes-1.34.mod pins
// the oldest release that Herald promises to run on. It must know nothing of
// controller and speaker, and starts no goroutine.
package crdtest
