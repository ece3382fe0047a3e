// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// speaker is a BGP speaker of gobgp with at most one peer.
type speaker struct {
	server *server.BgpServer
	log    *logger
	loop   *loopHook

	// calls serialises what is asked of the server, which has one loop for all of it.
	calls sync.Mutex
}

// speakerConfig is what gobgp fixes at the start of a speaker.
type speakerConfig struct {
	asn      uint32
	routerID netip.Addr
}

// idleConfig is that of a speaker that waits; nobody sees it. The ASN is one of those
// for documentation (RFC 5398), the router ID an address of TEST-NET-1.
var idleConfig = speakerConfig{asn: 64496, routerID: netip.AddrFrom4([4]byte{192, 0, 2, 0})} //nolint:gochecknoglobals // a constant

// newSpeaker returns a speaker whose loop runs, and will for ever.
func newSpeaker() *speaker {
	s := &speaker{log: &logger{}, loop: &loopHook{}}
	s.server = server.NewBgpServer(server.LoggerOption(s.log), server.TimingHookOption(s.loop))
	go s.server.Serve()
	return s
}

// loopHook is called by the loop of a speaker after each event, and can stop it there.
type loopHook struct {
	gate atomic.Pointer[gate]
}

// gate is where a loop stands still.
type gate struct {
	reached chan struct{} // capacity one
	open    chan struct{}
	nudge   sync.WaitGroup
}

// Observe stands still as long as there is a gate.
func (h *loopHook) Observe(server.FSMOperation, time.Duration, time.Duration) {
	if g := h.gate.Load(); g != nil {
		ring(g.reached)
		<-g.open
	}
}

// pause returns once the loop stands still.
func (h *loopHook) pause(ctx context.Context, s *speaker) {
	g := &gate{reached: make(chan struct{}, 1), open: make(chan struct{})}
	h.gate.Store(g)
	// A loop without events has to be given one. It may be answered only after resume:
	// an event that was there before it leads to the gate as well.
	g.nudge.Go(func() { _, _ = s.server.GetBgp(ctx, &api.GetBgpRequest{}) })
	<-g.reached
}

func (h *loopHook) resume() {
	g := h.gate.Swap(nil)
	close(g.open)
	g.nudge.Wait()
}

// start gives the speaker an ASN, a router ID and an empty table, and has it refuse
// whatever it receives. It may be called again.
func (s *speaker) start(ctx context.Context, c speakerConfig) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: c.asn, RouterId: c.routerID.String(), ListenPort: -1,
	}})
	if err != nil {
		return fmt.Errorf("start a BGP speaker: %w", err)
	}
	return s.refuse(ctx)
}

// refuse makes an import policy that accepts what is ours and rejects the rest. The
// first half is needed: gobgp applies the policy to local routes too.
func (s *speaker) refuse(ctx context.Context) error {
	const name = "refuse"
	local := &api.Statement{
		Name:       name,
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ACCEPT},
	}
	policy := &api.Policy{Name: name, Statements: []*api.Statement{local}}
	if err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy}); err != nil {
		return fmt.Errorf("add the policy that refuses routes: %w", err)
	}
	err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_IMPORT, DefaultAction: api.RouteAction_REJECT,
		Policies: []*api.Policy{{Name: name}},
	}})
	if err != nil {
		return fmt.Errorf("refuse routes: %w", err)
	}
	return nil
}

// add puts a route into the table, and thereby on the wire if the session is up.
func (s *speaker) add(ctx context.Context, prefix netip.Prefix, attributes [][]byte) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	_, err := s.server.AddPath(ctx, &api.AddPathRequest{Path: &api.Path{
		Family: wireFamily(familyOf(prefix.Addr())), NlriBinary: encodePrefix(prefix), PattrsBinary: attributes,
	}})
	if err != nil {
		return fmt.Errorf("advertise %s: %w", prefix, err)
	}
	return nil
}

// remove takes a route out of the table.
func (s *speaker) remove(ctx context.Context, prefix netip.Prefix) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	err := s.server.DeletePath(ctx, &api.DeletePathRequest{Path: &api.Path{
		Family: wireFamily(familyOf(prefix.Addr())), NlriBinary: encodePrefix(prefix),
		// gobgp wants attributes where the protocol has none.
		PattrsBinary: [][]byte{attribute(flagTransitive, attrOrigin, []byte{originIGP}), unspecifiedNextHop(prefix)},
	}})
	if err != nil {
		return fmt.Errorf("withdraw %s: %w", prefix, err)
	}
	return nil
}

func unspecifiedNextHop(prefix netip.Prefix) []byte {
	if prefix.Addr().Is4() {
		return encodeNextHop(netip.IPv4Unspecified(), IPv4Unicast)
	}
	return encodeNextHop(netip.IPv6Unspecified(), IPv6Unicast)
}

// clear takes all routes out of the table.
func (s *speaker) clear(ctx context.Context) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if err := s.server.DeletePath(ctx, &api.DeletePathRequest{}); err != nil {
		return fmt.Errorf("withdraw everything: %w", err)
	}
	return nil
}

// dial adds the peer, whose relay listens on this port. restarting says that routes of
// an earlier life may still be there (RFC 4724, 4.1).
func (s *speaker) dial(ctx context.Context, p *Peer, port uint16, restarting bool) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: newNeighbor(p, port, restarting)}); err != nil {
		return fmt.Errorf("add the peer: %w", err)
	}
	return nil
}

// hangUp deletes the peer.
func (s *speaker) hangUp(ctx context.Context) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: loopback.String()}); err != nil {
		return fmt.Errorf("delete the peer: %w", err)
	}
	return nil
}

// watch tells w of each state that gobgp's peer enters, until ctx ends.
func (s *speaker) watch(ctx context.Context, w *watcher) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	request := &api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}}
	err := s.server.WatchEvent(ctx, request, func(r *api.WatchEventResponse) {
		if p := r.GetPeer().GetPeer(); p != nil && ctx.Err() == nil {
			w.entered(p.GetState().GetSessionState(), uint16(p.GetTransport().GetLocalPort()))
		}
	})
	if err != nil {
		return fmt.Errorf("watch the peer: %w", err)
	}
	return nil
}

// watcher follows what gobgp's peer does with a relay.
type watcher struct {
	// claim is called with the local port of each connection that gobgp has opened.
	claim func(port uint16)
	// negotiating says that gobgp waits for an OPEN or the KEEPALIVE after it.
	negotiating atomic.Bool
	moved       chan struct{} // capacity one
}

func newWatcher(claim func(port uint16)) *watcher {
	return &watcher{claim: claim, moved: make(chan struct{}, 1)}
}

func (w *watcher) entered(state api.PeerState_SessionState, port uint16) {
	w.negotiating.Store(state == api.PeerState_OPENSENT || state == api.PeerState_OPENCONFIRM)
	ring(w.moved)
	if state == api.PeerState_OPENSENT {
		w.claim(port) // after the above: no OPEN comes before it is claimed
	}
}

// settled waits until gobgp does not negotiate, or until ctx ends. The relay has ended.
//
// gobgp keeps a goroutine for ever for a message that has come and that it has not looked
// at when its peer is deleted while it negotiates.
func (w *watcher) settled(ctx context.Context) {
	for w.negotiating.Load() {
		select {
		case <-w.moved:
		case <-ctx.Done():
			return
		}
	}
}

// newNeighbor says a peer in gobgp's words. What concerns the connection with the peer is
// the relay's business.
func newNeighbor(p *Peer, port uint16, restarting bool) *api.Peer {
	n := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: loopback.String(), LocalAsn: p.LocalASN, PeerAsn: p.remoteASN()},
		Transport: &api.Transport{RemotePort: uint32(port)},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: seconds(p.HoldTime), KeepaliveInterval: seconds(p.Keepalive), ConnectRetry: 1,
		}},
		AfiSafis: newAfiSafis(p),
	}
	if p.GracefulRestart {
		n.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(seconds(p.RestartTime)),
			DeferralTime: deferralTime, LocalRestarting: restarting,
		}
	}
	return n
}

// deferralTime is how many seconds a restarting speaker waits for the peer's
// End-of-RIB before it sends its own routes (RFC 4724, 4.1). We take no routes, so
// that there is little to wait for.
const deferralTime = 10

func newAfiSafis(p *Peer) []*api.AfiSafi {
	var list []*api.AfiSafi
	for _, f := range []Families{IPv4Unicast, IPv6Unicast} {
		if !p.Families.Has(f) {
			continue
		}
		list = append(list, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: wireFamily(f), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: p.GracefulRestart}},
		})
	}
	return list
}

// seconds rounds up: a time of the wire is in whole seconds and none of them may be
// shorter than was asked for.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }
