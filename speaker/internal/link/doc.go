// SPDX-License-Identifier: Apache-2.0

// Package link follows the network interfaces of this node by rtnetlink.
//
// It owns one netlink socket, a mirror of the kernel's links and addresses, and
// the rule how to notice that the mirror may be wrong. It yields immutable
// snapshots and rings a bell when the next one differs. It must not know what
// the interfaces are used for, nor change any of them.
//
// The mirror is fed by events, not by reading everything again on each: a node
// under kube-proxy in IPVS mode has ten thousand addresses on one interface and
// adds another with every Service. Everything is read at start, and again when
// the kernel says that events were lost (ENOBUFS) or that what it told does not
// fit together (NLM_F_DUMP_INTR).
//
// Goroutines: Watcher.Run and two below it, one that receives and one that
// closes the socket; all have ended when Run returns.
package link
