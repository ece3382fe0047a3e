// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/plan"
	"github.com/herald-lb/herald/speaker/internal/plan/route"
)

// Keys of log records about routes.
const (
	logKeyPeers     = "peers"
	logKeyOverruled = "overruled"
)

// Router advertises prefixes to peers. bgp.Router does. Its methods do not block, and
// saying the same twice has no effect.
type Router interface {
	Advertise(bgp.PathKey, bgp.Path) error
	Withdraw(bgp.PathKey)
	// Peers is called after the paths of new peers have been said.
	Peers(map[bgp.PeerName]bgp.Peer)
	// Expect is called before the paths of new peers have been said; Peers comes after it.
	Expect(map[bgp.PeerName]bgp.Peer)
	// Drain asks all peers to prefer other nodes, or takes that back.
	Drain(bool)
}

// BGP is what a Loop advertises by BGP with. All fields are needed.
type BGP struct {
	Router Router
	Guards *Guards
	// Statuses are ServiceBGPStatus objects.
	Statuses *Statuses
	// DrainWait is how long routers are given to prefer other nodes before a node that is
	// drained withdraws its routes. Zero: none.
	DrainWait time.Duration
}

// routes make this node advertise by BGP what the plan wants it to. They belong to the
// loop.
type routes struct {
	BGP
	node     lb.NodeName
	log      *slog.Logger
	reporter *routeReporter

	view  *route.View
	table *route.Table
	// renewed says that the view is new, and Router does not know of its peers.
	renewed bool
	// peers are those that Router knows of.
	peers int
	drain drain
	// told are the problems of the view before, which are not told again.
	told []lb.Problem
}

func newRoutes(c *Config) *routes {
	return &routes{
		BGP: *c.BGP, node: c.Node, log: c.Log, reporter: newRouteReporter(c), table: route.NewTable(),
		drain: drain{router: c.BGP.Router, wait: c.BGP.DrainWait, again: c.Inventory.reconsider, log: c.Log},
	}
}

// use makes the view anew, of what Layer 2 makes its own of. All addresses have to be
// decided again.
func (r *routes) use(view plan.Input) {
	in := route.Input{Config: view.Config, Nodes: view.Nodes, Members: view.Members, IgnoreExcludeLabel: view.IgnoreExcludeLabel}
	if i := slices.IndexFunc(in.Nodes, func(n lb.Node) bool { return n.Name == r.node }); i >= 0 {
		in.Node = &in.Nodes[i]
		in.Drained = r.drain.follow(in.Node.Draining, !r.reporter.began)
	}
	r.view, r.renewed = route.NewView(in), true
	r.table.Use(r.view)
	for _, p := range r.view.Problems() {
		if !slices.Contains(r.told, p) {
			r.log.Warn("peer is not used on this node", lb.LogKeyObject, p.Object.String(), lb.LogKeyMessage, p.Message)
		}
	}
	r.told = r.view.Problems()
}

// decide puts an address into the table.
func (r *routes) decide(a netip.Addr, sharers []plan.Sharer) {
	verdict := r.view.Decide(a, sharers)
	r.table.Put(a, verdict.Claims)
	r.reporter.record(a, verdict.Decisions)
}

// advertise makes the router agree with the table.
func (r *routes) advertise() {
	for _, c := range r.table.Changes() {
		key := bgp.PathKey{Peer: bgp.PeerName(c.Peer), Prefix: c.Prefix}
		if c.Withdraw {
			r.Router.Withdraw(key)
			continue
		}
		if err := r.Router.Advertise(key, pathOf(&c.Path)); err != nil {
			r.log.Error("prefix cannot be advertised", logKeyPeers, c.Peer, lb.LogKeyError, err)
		}
	}
}

// apply makes the router agree. Paths are said before peers, so that a router that has
// kept ours over a restart is not told that the table is complete before it is (RFC 4724,
// 4.1).
func (r *routes) apply() {
	r.advertise()
	if r.renewed {
		r.renewed = false
		r.applyPeers(r.Router.Peers)
	}
}

// flush ends a round: it makes the router agree, and reports.
func (r *routes) flush(ctx context.Context) {
	r.apply()
	r.reporter.flush(ctx)
}

// applyPeers says which peers there are, or will be.
func (r *routes) applyPeers(say func(map[bgp.PeerName]bgp.Peer)) {
	wanted := r.view.Peers()
	peers := make(map[bgp.PeerName]bgp.Peer, len(wanted.Peers))
	guards := make(map[bgp.PeerName]Guard)
	for _, p := range wanted.Peers {
		name := bgp.PeerName(p.Name)
		peers[name] = peerOf(p, r.view.RouterID())
		if p.BFD != nil {
			guards[name] = guardOf(p)
		}
	}
	say(peers)
	r.Guards.Set(guards)
	if len(peers) != r.peers {
		r.peers = len(peers)
		r.log.Info("peers of this node are known", lb.LogKeyCount, len(peers))
	}
}

// multihopTTL is for peers any number of hops away.
const multihopTTL = 255

// peerOf returns the peer in the router's words.
func peerOf(p *lb.Peer, routerID netip.Addr) bgp.Peer {
	peer := bgp.Peer{
		Address: p.Address, Interface: p.Interface, Port: p.Port, Source: p.Source, Device: p.VRF,
		LocalASN: p.SessionASN(), RemoteASN: p.ASN, RouterID: routerID,
		HoldTime: p.HoldTime, NoHoldTime: p.HoldTime == 0, Keepalive: p.KeepaliveTime, ConnectRetry: p.ConnectTime,
		Password: bgp.Password(p.Password.Reveal()), GracefulRestart: p.GracefulRestart,
	}
	switch p.Dynamic {
	case lb.InternalASN:
		peer.Mode = bgp.ASNInternal
	case lb.ExternalASN:
		peer.Mode = bgp.ASNExternal
	}
	switch {
	case p.SecuredHops != 0:
		peer.MinTTL = 255 - (p.SecuredHops - 1) // RFC 5082, 3
	case p.MultiHop:
		peer.MultihopTTL = multihopTTL
	}
	if p.Carries(lb.IPv4) {
		peer.Families |= bgp.IPv4Unicast
	}
	if p.Carries(lb.IPv6) {
		peer.Families |= bgp.IPv6Unicast
	}
	return peer
}

// guardOf returns how the session with a peer is guarded.
func guardOf(p *lb.Peer) Guard {
	return Guard{
		Path: bfd.Path{Peer: p.Address, Local: p.Source, Interface: p.Interface, VRF: p.VRF, Multihop: p.MultiHop || p.SecuredHops > 1},
		Config: bfd.Config{
			TransmitInterval: p.BFD.Transmit, ReceiveInterval: p.BFD.Receive, DetectMultiplier: p.BFD.Multiplier,
			EchoInterval: p.BFD.EchoInterval, Echo: p.BFD.Echo, Passive: p.BFD.Passive, MinimumTTL: p.BFD.MinimumTTL,
		},
	}
}

// pathOf returns the path in the router's words.
func pathOf(p *route.Path) bgp.Path {
	path := bgp.Path{LocalPref: p.LocalPref}
	for _, c := range p.Communities {
		if bits, ok := c.Standard(); ok {
			path.Communities = append(path.Communities, bgp.Community(bits))
			continue
		}
		parts, _ := c.Large()
		path.LargeCommunities = append(path.LargeCommunities, bgp.LargeCommunity{
			GlobalAdministrator: parts[0], LocalData1: parts[1], LocalData2: parts[2],
		})
	}
	return path
}
