// SPDX-License-Identifier: Apache-2.0

// Package pki makes the keys and certificates of a cluster that lives for an
// afternoon.
//
// It owns key generation and PEM; it must not know who uses what. Keys are
// ECDSA on P-256: a fresh authority takes a millisecond, not a second.
//
// No goroutines.
package pki
