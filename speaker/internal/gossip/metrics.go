// SPDX-License-Identifier: Apache-2.0

package gossip

import "github.com/prometheus/client_golang/prometheus"

// metrics are the package's own; memberlist's go to a registry of its own kind, which
// nobody reads.
type metrics struct {
	events     *prometheus.CounterVec
	joinErrors prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, m *Members) *metrics {
	x := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "herald_gossip_events_total",
			Help: "Members that joined (join), and that left or died (leave), as seen from this node.",
		}, []string{"event"}),
		joinErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "herald_gossip_join_errors_total",
			Help: "Attempts to reach a node that is no member which had no success.",
		}),
	}
	for _, event := range []string{"join", "leave"} {
		x.events.WithLabelValues(event)
	}
	members := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "herald_gossip_members",
		Help: "Members that are alive, this one included.",
	}, func() float64 { return float64(len(m.Alive())) })
	health := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "herald_gossip_health_score",
		Help: "0 when this member keeps up with its own probing; higher the more it falls behind.",
	}, func() float64 { return float64(m.Health()) })
	reg.MustRegister(x.events, x.joinErrors, members, health)
	return x
}
