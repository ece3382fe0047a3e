// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
)

// Announcement is an address and where to announce it.
type Announcement struct {
	// Address is a unicast address, without zone.
	Address netip.Addr
	// Interfaces are the names of the interfaces to announce on; empty means all
	// that are usable. A name without a usable interface is waited for.
	Interfaces []string
}

// Options of an Announcer. All fields but Log may be left zero.
type Options struct {
	Log *slog.Logger
	// Registerer gets the metrics, unless it is nil.
	Registerer prometheus.Registerer
	// Refresh is how often each address is announced again; 0 is DefaultRefresh.
	Refresh time.Duration
	// Heard is told, about once a second, that another station claims an address that
	// is announced here; nil is nobody. It is called by those who answer and must not
	// block.
	Heard func(Claim)
	// Network is where sockets are opened; nil is the kernel.
	Network Network
}

// Announcer announces addresses on the interfaces of this node. Its methods may
// be called from several goroutines at once, before, during and after Run.
type Announcer struct {
	log     *slog.Logger
	refresh time.Duration
	network Network
	bell    chan struct{} // interfaces have changed
	table   table
	heard   func(Claim)
	claims  claims
	lease   lease
	// listener is nil if the network cannot listen.
	listener Listener

	mu          sync.Mutex // guards what follows, and all changes of table
	interfaces  []Interface
	attachments map[identity]*attachment
}

// New returns an Announcer that has no addresses and knows no interfaces.
func New(o Options) *Announcer {
	a := &Announcer{
		log:         o.Log,
		refresh:     o.Refresh,
		network:     o.Network,
		heard:       o.Heard,
		bell:        make(chan struct{}, 1),
		attachments: make(map[identity]*attachment),
	}
	if a.refresh == 0 {
		a.refresh = DefaultRefresh
	}
	if a.network == nil {
		a.network = &kernel{}
	}
	a.listener, _ = a.network.(Listener)
	a.lease.begun = time.Now()
	a.network = leasedNetwork{a.network, &a.lease}
	if o.Registerer != nil {
		o.Registerer.MustRegister(newMetrics(&a.table))
	}
	return a
}

// Announce begins to answer for an address and announces it, or changes where it
// is announced. To announce what is announced already has no effect. It sends
// nothing itself and does not block. The cost does not depend on the number of
// addresses.
func (a *Announcer) Announce(n Announcement) error {
	if !n.Address.IsValid() || n.Address.IsMulticast() || n.Address.IsUnspecified() || n.Address.IsLoopback() {
		return fmt.Errorf("announce %s: not a unicast address that a link can have", n.Address)
	}
	n.Address = n.Address.Unmap().WithZone("")
	n.Interfaces = slices.Clone(n.Interfaces)

	a.mu.Lock()
	defer a.mu.Unlock()
	e := &entry{Announcement: n}
	switch old := a.table.get(n.Address); {
	case old == nil:
		e.counters = new(counters)
	case slices.Equal(old.Interfaces, n.Interfaces):
		return nil
	default:
		e.counters = old.counters
	}
	a.table.put(e)
	a.touch(n.Address)
	return nil
}

// Withdraw stops answering for an address; no answer begins after it has
// returned. To withdraw what is not announced has no effect.
func (a *Announcer) Withdraw(address netip.Addr) {
	address = address.Unmap().WithZone("")
	a.mu.Lock()
	defer a.mu.Unlock()
	if !address.IsValid() || a.table.get(address) == nil {
		return
	}
	a.table.remove(address)
	a.touch(address)
}

// Announced returns what is announced of an address; false if nothing is.
func (a *Announcer) Announced(address netip.Addr) (Announcement, bool) {
	e := a.table.get(address)
	if e == nil {
		return Announcement{}, false
	}
	return e.Announcement, true
}

// Repeat announces an address again, as if it were new: somebody may have heard
// otherwise. To repeat what is not announced has no effect.
func (a *Announcer) Repeat(address netip.Addr) {
	address = address.Unmap().WithZone("")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.attachments {
		if at.protocol.carries(address) {
			at.repeat(address)
		}
	}
}

// hear tells that an address is claimed, unless it is claimed by this node, which
// hears itself where two of its interfaces are on one link.
func (a *Announcer) hear(c Claim) {
	if a.heard == nil || !a.claims.fresh(c, time.Now()) || a.owns(c.MAC) {
		return
	}
	a.heard(c)
}

// owns says whether one of this node's interfaces has a hardware address.
func (a *Announcer) owns(m mac) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.interfaces, func(i Interface) bool { return i.MAC == m })
}

// touch tells the attachments that the entry of an address has changed. The
// caller holds the lock.
func (a *Announcer) touch(address netip.Addr) {
	for _, at := range a.attachments {
		if at.protocol.carries(address) {
			at.touch(address)
		}
	}
}

// Follow tells which interfaces there are now. Addresses are announced again on
// those that are new or have come up, or whose hardware address has changed.
func (a *Announcer) Follow(interfaces []Interface) {
	a.mu.Lock()
	a.interfaces = slices.Clone(interfaces)
	a.mu.Unlock()
	ring(a.bell)
}

// Run serves the interfaces until ctx ends, then returns nil. An error on one of
// them is logged, and tried to overcome, without touching the others.
func (a *Announcer) Run(ctx context.Context) error {
	running := make(map[identity]func())
	for {
		a.attach(ctx, running)
		select {
		case <-ctx.Done():
			a.detach(running, nil)
			return nil
		case <-a.bell:
		}
	}
}

// attach makes the running attachments those that are wanted.
func (a *Announcer) attach(ctx context.Context, running map[identity]func()) {
	a.mu.Lock()
	want := identities(a.interfaces)
	a.mu.Unlock()
	a.detach(running, want)
	for id, i := range want {
		if running[id] == nil {
			running[id] = a.start(ctx, id, i)
		}
	}
}

// start begins to serve an interface and returns how to stop it. The attachment
// is told of changes before it first looks at the table, so it misses none.
func (a *Announcer) start(ctx context.Context, id identity, i Interface) (stop func()) {
	log := a.log.With(lb.LogKeyInterface, id.name, "protocol", id.protocol.String())
	at := &attachment{
		identity: id, iface: i, network: a.network, table: &a.table, refresh: a.refresh,
		heard: a.hear, log: log, bell: make(chan struct{}, 1),
	}
	a.mu.Lock()
	a.attachments[id] = at
	a.mu.Unlock()
	log.Info("answering on an interface")

	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		at.run(ctx)
	}()
	return func() {
		cancel()
		<-done
		log.Info("no longer answering on an interface")
	}
}

// detach stops the attachments that are not wanted.
func (a *Announcer) detach(running map[identity]func(), want map[identity]Interface) {
	for id, stop := range running {
		if _, keep := want[id]; keep {
			continue
		}
		a.mu.Lock()
		delete(a.attachments, id)
		a.mu.Unlock()
		stop()
		delete(running, id)
	}
}
