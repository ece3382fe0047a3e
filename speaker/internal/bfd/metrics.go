// SPDX-License-Identifier: Apache-2.0

package bfd

import "github.com/prometheus/client_golang/prometheus"

// metrics renders the sessions when it is asked to. Their names are MetalLB's;
// the series of a session go with it.
type metrics struct {
	sessions *Sessions
	up       *prometheus.Desc
	counters []counter
}

// counter is a metric that is one of the counters of a session.
type counter struct {
	desc  *prometheus.Desc
	value func(c *counters) uint64
}

// series is what tells sessions apart in the metrics. Paths that differ in their
// local address only share one.
type series struct{ peer, vrf string }

// total are the sessions of a series.
type total struct {
	counters
	up bool // all of them
}

func newMetrics(s *Sessions) *metrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"peer", "vrf"}, nil)
	}
	return &metrics{
		sessions: s,
		up:       desc("metallb_bfd_session_up", "BFD session state: 1 is up, 0 is not."),
		counters: []counter{
			{desc("metallb_bfd_control_packet_input", "BFD control packets received and accepted."), func(c *counters) uint64 { return c.controlIn }},
			{desc("metallb_bfd_control_packet_output", "BFD control packets sent."), func(c *counters) uint64 { return c.controlOut }},
			{desc("metallb_bfd_echo_packet_input", "BFD echo packets of this node that came back."), func(c *counters) uint64 { return c.echoIn }},
			{desc("metallb_bfd_echo_packet_output", "BFD echo packets sent."), func(c *counters) uint64 { return c.echoOut }},
			{desc("metallb_bfd_session_up_events", "Times a BFD session came up."), func(c *counters) uint64 { return c.ups }},
			{desc("metallb_bfd_session_down_events", "Times a BFD session that was up went down."), func(c *counters) uint64 { return c.downs }},
			{desc("metallb_bfd_zebra_notifications", "Changes of a BFD session that those who use it were told of. There is no Zebra here; the name is kept for dashboards."), func(c *counters) uint64 { return c.notifications }},
		},
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	c <- m.up
	for _, k := range m.counters {
		c <- k.desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	for l, t := range m.sessions.totals() {
		up := 0.0
		if t.up {
			up = 1
		}
		c <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, up, l.peer, l.vrf)
		for _, k := range m.counters {
			c <- prometheus.MustNewConstMetric(k.desc, prometheus.CounterValue, float64(k.value(&t.counters)), l.peer, l.vrf)
		}
	}
}

// totals adds up the sessions by series.
func (s *Sessions) totals() map[series]*total {
	s.mu.Lock()
	defer s.mu.Unlock()
	totals := make(map[series]*total)
	for _, e := range s.byPath {
		l := series{e.label(), e.path.VRF}
		t := totals[l]
		if t == nil {
			t = &total{up: true}
			totals[l] = t
		}
		t.up = t.up && e.machine.state == Up
		t.add(&e.counters)
	}
	return totals
}

func (c *counters) add(d *counters) {
	c.controlIn += d.controlIn
	c.controlOut += d.controlOut
	c.echoIn += d.echoIn
	c.echoOut += d.echoOut
	c.ups += d.ups
	c.downs += d.downs
	c.notifications += d.notifications
}
