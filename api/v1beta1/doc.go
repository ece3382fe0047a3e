// SPDX-License-Identifier: Apache-2.0

// Package v1beta1 holds the metallb.io/v1beta1 resources as users write them
// and as Herald reports on them.
//
// It owns field names, defaults, documentation and the validation that one
// object allows (OpenAPI and CEL markers, from which the CRDs in config/crd are
// generated). It has no behaviour: no parsing, no defaulting in Go, no
// conversion. Package internal/lb turns these values into the domain model. It
// must know nothing but apimachinery and starts no goroutine.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta1
