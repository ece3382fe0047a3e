// SPDX-License-Identifier: Apache-2.0

// Package v1beta2 holds metallb.io/v1beta2: BGPPeer in the version that is
// stored. Its spec and status are the types of package v1beta1, so the schemas of
// the two versions cannot drift apart and no conversion is needed. The package
// has no behaviour and starts no goroutine.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta2
