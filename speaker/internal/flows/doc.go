// SPDX-License-Identifier: Apache-2.0

// Package flows keeps TCP connections alive when a Layer 2 address moves from one
// node to another while both nodes live.
//
// The connections that are under way are in the connection tracking of the former
// node: its kube-proxy has chosen the endpoint and masqueraded the client. The
// new owner knows none of them and would answer with a reset. So its kernel
// passes on, to the former node, what belongs to no connection that it knows and
// begins none. The former node takes the packet as if it came from the client,
// and answers the client directly.
//
//	client ── ACK, data, FIN ──> new owner ── unknown here ──> former node ─┐
//	   ^                             └─ SYN, or known: served here          │
//	   └──────────────────────── answer ────────────────────────────────────┘
//
// It owns the nftables tables "ip herald" and "ip6 herald", and no rule of any
// other table. It must not know why an address moved, nor whether the former node
// lives: the shell says so by Keep and Forget. The state is the kernel's: entries
// survive the speaker and end by their timeout, so that a dead speaker leaves
// nothing behind for long. What `nft list table ip herald` shows:
//
//	map former { type ipv4_addr : ipv4_addr; flags timeout;
//	  elements = { 192.0.2.100 timeout 10m expires 9m58s : 192.0.2.11 } }
//	counter passed_on { packets 17 bytes 1240 }
//	counter dropped { packets 0 bytes 0 }
//	chain prerouting { type filter hook prerouting priority mangle; policy accept;
//	  ct state invalid,new ip daddr @former tcp flags ! syn goto pass_on }
//	chain pass_on {
//	  ip ttl > 1 dup to ip daddr map @former counter name "passed_on" drop
//	  counter name "dropped" drop }
//
// The hook lies behind connection tracking (priority -200), which says what is
// known, and before the destination NAT (-100), after which the address would be
// that of an endpoint.
//
// Entries are made before the address is announced: a packet that comes earlier is
// answered by a reset, and an entry that comes earlier does no harm.
//
// # What it does not do
//
//   - UDP. A datagram does not tell whether it begins something, so none is passed
//     on. Nor are ICMP errors about connections that live elsewhere.
//   - Dataplanes without this hook. kube-proxy in the modes iptables, nftables and
//     ipvs leaves it in place. An eBPF dataplane takes packets before, or does not
//     track connections here: then nothing matches, and nothing is passed on.
//   - Nodes behind a router. The former node has to be on a link of this one: a
//     router would return the packet to the address's owner. There is no way to
//     name the link of an IPv6 link-local next hop.
//
// # Loops
//
// Two nodes that lead to each other hand a packet that neither knows back and
// forth. Each hand-over takes one from its TTL (hop limit), and at 1 it is
// dropped by our rule: the kernel's dup alone would wrap around to 255 and never
// end. The shell avoids the loop: it ends what leads to the current owner.
//
// # Settings of the kernel that matter
//
//   - nf_conntrack_tcp_loose: with 1, a packet in the middle of an unknown
//     connection is "new", and one that ends it "invalid"; with 0, each is
//     "invalid". Both are passed on.
//   - rp_filter: the former node gets the client's packet by the link of the address
//     that it is known by here. Is that the link on which clients reached it before,
//     even strict mode is content; is it another, only loose mode is.
//   - A filter on the new owner's output, or on the former node's input, that drops
//     untracked or invalid packets ends it: a clone is untracked where it leaves.
//
// A packet that is passed on has the DF bit set and a TTL that is one less.
//
// No goroutines: methods are synchronous.
package flows
