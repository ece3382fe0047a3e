// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/speaker/internal/suspect"
)

// metrics count what the machine has come to.
type metrics struct {
	events       *prometheus.Desc
	sessions, up *prometheus.Desc
	vigil        *Vigil

	mu     sync.Mutex // guards counts
	counts suspect.Counts
}

func newMetrics(reg prometheus.Registerer, v *Vigil) *metrics {
	m := &metrics{
		vigil: v,
		events: prometheus.NewDesc("herald_vigil_events_total",
			"What became of other speakers as seen from this node, by what made it look.", []string{"event", "cause"}, nil),
		sessions: prometheus.NewDesc("herald_vigil_sessions",
			"Other speakers that this one watches by BFD, whether they are heard or not.", nil, nil),
		up: prometheus.NewDesc("herald_vigil_sessions_up",
			"Speakers of those watched by BFD that are heard.", nil, nil),
	}
	reg.MustRegister(m)
	return m
}

func (m *metrics) set(c suspect.Counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts = c
}

// Describe is a prometheus.Collector's.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.events
	to <- m.sessions
	to <- m.up
}

// Collect is a prometheus.Collector's.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.vigil.mu.Lock()
	sessions, up := len(m.vigil.byPath), len(m.vigil.up)
	m.vigil.mu.Unlock()
	to <- prometheus.MustNewConstMetric(m.sessions, prometheus.GaugeValue, float64(sessions))
	to <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, float64(up))
	m.mu.Lock()
	counts := m.counts
	m.mu.Unlock()
	counts.Each(func(e suspect.Event, cause suspect.Cause, n uint64) {
		to <- prometheus.MustNewConstMetric(m.events, prometheus.CounterValue, float64(n), e.String(), cause.String())
	})
}
