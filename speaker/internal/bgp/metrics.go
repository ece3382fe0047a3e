// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"net/netip"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// tally counts the messages of all connections with a peer there have been, by type.
type tally struct {
	sent, received [typesCount]atomic.Uint64
	// refused is no count of messages: it is how many prefixes the peer advertises to us
	// at the moment.
	refused atomic.Int64
}

// total returns how many messages there were of all types.
func total(counts *[typesCount]atomic.Uint64) (n uint64) {
	for i := range counts {
		n += counts[i].Load()
	}
	return n
}

// metric is one of those that are read off a session.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*Session, *tally) float64
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

func (c *collector) add(name, help string, kind prometheus.ValueType, read func(*Session, *tally) float64) {
	c.metrics = append(c.metrics, metric{prometheus.NewDesc(name, help, labels, nil), kind, read})
}

func (c *collector) state() {
	gauge := func(name, help string, read func(*Session, *tally) float64) {
		c.add(name, help, prometheus.GaugeValue, read)
	}
	gauge("metallb_bgp_session_up", "1 if the session is Established, otherwise 0.",
		func(s *Session, _ *tally) float64 {
			if s.State == Established {
				return 1
			}
			return 0
		})
	gauge("metallb_bgp_announced_prefixes_total", "Prefixes that are advertised on the session.",
		func(s *Session, _ *tally) float64 {
			if s.State == Established {
				return float64(s.Advertised)
			}
			return 0
		})
	gauge("metallb_bgp_pending_prefixes_total", "Prefixes that should be advertised or withdrawn and are not yet.",
		func(s *Session, _ *tally) float64 {
			if s.State == Established {
				return float64(s.Pending)
			}
			return float64(s.Advertised + s.Pending)
		})
	gauge("herald_bgp_refused_prefixes", "Prefixes that the peer advertises to us. They are refused.",
		func(_ *Session, t *tally) float64 { return float64(t.refused.Load()) })
}

func (c *collector) messages() {
	counter := func(name, help string, read func(*tally) uint64) {
		c.add(name, help, prometheus.CounterValue,
			func(_ *Session, t *tally) float64 { return float64(read(t)) })
	}
	counter("metallb_bgp_opens_sent", "OPEN messages sent.", func(t *tally) uint64 { return t.sent[typeOpen].Load() })
	counter("metallb_bgp_opens_received", "OPEN messages received.", func(t *tally) uint64 { return t.received[typeOpen].Load() })
	counter("metallb_bgp_notifications_sent", "NOTIFICATION messages sent.",
		func(t *tally) uint64 { return t.sent[typeNotification].Load() })
	counter("metallb_bgp_notifications_received", "NOTIFICATION messages received.",
		func(t *tally) uint64 { return t.received[typeNotification].Load() })
	counter("metallb_bgp_updates_total", "UPDATE messages sent.", func(t *tally) uint64 { return t.sent[typeUpdate].Load() })
	counter("metallb_bgp_updates_total_received", "UPDATE messages received.", func(t *tally) uint64 { return t.received[typeUpdate].Load() })
	counter("metallb_bgp_keepalives_sent", "KEEPALIVE messages sent.", func(t *tally) uint64 { return t.sent[typeKeepalive].Load() })
	counter("metallb_bgp_keepalives_received", "KEEPALIVE messages received.",
		func(t *tally) uint64 { return t.received[typeKeepalive].Load() })
	counter("metallb_bgp_route_refresh_sent", "ROUTE-REFRESH messages sent.", func(t *tally) uint64 { return t.sent[typeRefresh].Load() })
	counter("metallb_bgp_total_sent", "Messages sent.", func(t *tally) uint64 { return total(&t.sent) })
	counter("metallb_bgp_total_received", "Messages received.", func(t *tally) uint64 { return total(&t.received) })
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
		for _, m := range c.metrics {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(&status, &s.tally), peer, vrf)
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
