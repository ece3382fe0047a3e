// SPDX-License-Identifier: Apache-2.0

// Package controlplane runs etcd, kube-apiserver, kube-controller-manager and
// the nodes' kube-proxies.
//
// It owns their flags, credentials and order of start. It must not know about
// pods, faults or topologies: it is told addresses and namespaces.
//
// Goroutines: those of ControlPlane.Run, one for each program.
package controlplane
