// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the herald-lb.io/v1alpha1 resources: what Herald offers
// beyond the API of MetalLB.
//
// It owns field names, defaults, documentation and the validation that one
// object allows (OpenAPI and CEL markers, from which the CRDs in config/crd are
// generated). It has no behaviour. Package internal/lb turns these values into
// the domain model. It must know nothing but apimachinery and starts no
// goroutine.
//
// +kubebuilder:object:generate=true
// +groupName=herald-lb.io
package v1alpha1
