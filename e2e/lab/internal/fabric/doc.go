// SPDX-License-Identifier: Apache-2.0

// Package fabric makes a topology's cables, switches and addresses out of
// network namespaces, veth pairs and bridges, and breaks them on request.
//
// It owns everything that is set by netlink, sysctl and nftables between hosts.
// It must not know about Kubernetes: a cluster node is a host like any other.
//
// No goroutines.
package fabric
