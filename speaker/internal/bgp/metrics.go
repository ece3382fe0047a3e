// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"net/netip"
	"strconv"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/prometheus/client_golang/prometheus"
)

// traffic counts messages. gobgp starts from zero with each session that is deleted and
// added again, so that what it had counted by then is kept here.
type traffic struct {
	opensSent, opensReceived                 uint64
	notificationsSent, notificationsReceived uint64
	updatesSent, updatesReceived             uint64
	keepalivesSent, keepalivesReceived       uint64
	refreshesSent                            uint64
	totalSent, totalReceived                 uint64
	// refused is no count of messages: it is how many prefixes the peer advertises to us
	// at the moment.
	refused uint64
}

// add adds the messages of a session that has ended.
func (t *traffic) add(o traffic) {
	t.opensSent += o.opensSent
	t.opensReceived += o.opensReceived
	t.notificationsSent += o.notificationsSent
	t.notificationsReceived += o.notificationsReceived
	t.updatesSent += o.updatesSent
	t.updatesReceived += o.updatesReceived
	t.keepalivesSent += o.keepalivesSent
	t.keepalivesReceived += o.keepalivesReceived
	t.refreshesSent += o.refreshesSent
	t.totalSent += o.totalSent
	t.totalReceived += o.totalReceived
}

// readTraffic reads gobgp's counters, of a peer that may be nil.
func readTraffic(p *api.Peer) traffic {
	sent, received := p.GetState().GetMessages().GetSent(), p.GetState().GetMessages().GetReceived()
	t := traffic{
		opensSent: sent.GetOpen(), opensReceived: received.GetOpen(),
		notificationsSent: sent.GetNotification(), notificationsReceived: received.GetNotification(),
		updatesSent: sent.GetUpdate(), updatesReceived: received.GetUpdate(),
		keepalivesSent: sent.GetKeepalive(), keepalivesReceived: received.GetKeepalive(),
		refreshesSent: sent.GetRefresh(),
		totalSent:     sent.GetTotal(), totalReceived: received.GetTotal(),
	}
	for _, f := range p.GetAfiSafis() {
		t.refused += f.GetState().GetReceived()
	}
	return t
}

// read returns what has been counted up to now.
func (s *session) read() traffic {
	s.mu.Lock()
	total, sp, dialled := s.traffic, s.speaker, s.dialled
	s.mu.Unlock()
	if sp != nil && dialled.IsValid() {
		now := readTraffic(sp.peer(context.Background()))
		total.add(now)
		total.refused = now.refused
	}
	return total
}

// metric is one of those that are read off a session.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*Session, *traffic) float64
}

// collector reads the metrics off the sessions when it is asked, so that they cannot
// drift, and those of a peer go with it.
type collector struct {
	router  *Router
	metrics []metric
}

func newCollector(r *Router) *collector {
	c := &collector{router: r}
	c.state()
	c.messages()
	return c
}

// labels are MetalLB's. An empty vrf is none.
var labels = []string{"peer", "vrf"} //nolint:gochecknoglobals // a constant

func (c *collector) add(name, help string, kind prometheus.ValueType, read func(*Session, *traffic) float64) {
	c.metrics = append(c.metrics, metric{prometheus.NewDesc(name, help, labels, nil), kind, read})
}

func (c *collector) state() {
	gauge := func(name, help string, read func(*Session, *traffic) float64) {
		c.add(name, help, prometheus.GaugeValue, read)
	}
	gauge("metallb_bgp_session_up", "1 if the session is Established, otherwise 0.",
		func(s *Session, _ *traffic) float64 {
			if s.State == Established {
				return 1
			}
			return 0
		})
	gauge("metallb_bgp_announced_prefixes_total", "Prefixes that are advertised on the session.",
		func(s *Session, _ *traffic) float64 {
			if s.State == Established {
				return float64(s.Advertised)
			}
			return 0
		})
	gauge("metallb_bgp_pending_prefixes_total", "Prefixes that should be advertised or withdrawn and are not yet.",
		func(s *Session, _ *traffic) float64 {
			if s.State == Established {
				return float64(s.Pending)
			}
			return float64(s.Advertised + s.Pending)
		})
	gauge("herald_bgp_refused_prefixes", "Prefixes that the peer advertises to us. They are refused.",
		func(_ *Session, t *traffic) float64 { return float64(t.refused) })
}

func (c *collector) messages() {
	counter := func(name, help string, read func(*traffic) uint64) {
		c.add("metallb_bgp_"+name, help, prometheus.CounterValue,
			func(_ *Session, t *traffic) float64 { return float64(read(t)) })
	}
	counter("opens_sent", "OPEN messages sent.", func(t *traffic) uint64 { return t.opensSent })
	counter("opens_received", "OPEN messages received.", func(t *traffic) uint64 { return t.opensReceived })
	counter("notifications_sent", "NOTIFICATION messages sent.",
		func(t *traffic) uint64 { return t.notificationsSent })
	counter("notifications_received", "NOTIFICATION messages received.",
		func(t *traffic) uint64 { return t.notificationsReceived })
	counter("updates_total", "UPDATE messages sent.", func(t *traffic) uint64 { return t.updatesSent })
	counter("updates_total_received", "UPDATE messages received.", func(t *traffic) uint64 { return t.updatesReceived })
	counter("keepalives_sent", "KEEPALIVE messages sent.", func(t *traffic) uint64 { return t.keepalivesSent })
	counter("keepalives_received", "KEEPALIVE messages received.",
		func(t *traffic) uint64 { return t.keepalivesReceived })
	counter("route_refresh_sent", "ROUTE-REFRESH messages sent.", func(t *traffic) uint64 { return t.refreshesSent })
	counter("total_sent", "Messages sent.", func(t *traffic) uint64 { return t.totalSent })
	counter("total_received", "Messages received.", func(t *traffic) uint64 { return t.totalReceived })
}

// Describe sends what Collect may send values of.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		to <- m.desc
	}
}

// Collect sends the metrics of all peers. Two peers of one address and device, which
// cannot both be right, are one here.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	seen := make(map[[2]string]struct{})
	for _, s := range c.router.clone() {
		status, wanted := s.snapshot()
		peer, vrf := peerLabel(&status.Peer), status.Peer.Device
		if _, again := seen[[2]string{peer, vrf}]; again || !wanted {
			continue
		}
		seen[[2]string{peer, vrf}] = struct{}{}
		total := s.read()
		for _, m := range c.metrics {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(&status, &total), peer, vrf)
		}
	}
}

// peerLabel is "ip:port" as MetalLB writes it, or the interface of an unnumbered peer.
func peerLabel(p *Peer) string {
	if p.Interface != "" {
		return p.Interface
	}
	if p.Address.Is6() {
		return netip.AddrPortFrom(p.Address, p.Port).String()
	}
	return p.Address.String() + ":" + strconv.Itoa(int(p.Port))
}
