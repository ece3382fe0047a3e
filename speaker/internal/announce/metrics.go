// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/plan"
)

// metrics are those of the loop. What is announced and why is read from the reporter
// when somebody asks, so that it cannot differ from what was done.
type metrics struct {
	loop          *Loop
	loaded, stale prometheus.Gauge
	round         prometheus.Histogram

	announced, decisions, updates, updateErrors *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, l *Loop) *metrics {
	m := &metrics{
		loop: l,
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metallb_k8s_client_config_loaded_bool",
			Help: "1 once the configuration has been read.",
		}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metallb_k8s_client_config_stale_bool",
			Help: "1 while a configuration object is invalid and left out. All others are in use.",
		}),
		round: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "herald_speaker_round_duration_seconds",
			Help:    "How long it took to decide and apply what had changed.",
			Buckets: []float64{.0001, .001, .01, .1, 1, 10},
		}),
		announced: prometheus.NewDesc("metallb_speaker_announced",
			"1 for each address of a Service that this node announces.", []string{"service", "protocol", "node", "ip"}, nil),
		decisions: prometheus.NewDesc("herald_speaker_decisions",
			"Addresses of Services by the reason for which this node announces them or not.", []string{"protocol", "reason"}, nil),
		updates: prometheus.NewDesc("metallb_k8s_client_updates_total",
			"Objects that came, changed or went, as far as they concern announcements.", nil, nil),
		updateErrors: prometheus.NewDesc("metallb_k8s_client_update_errors_total",
			"Writes of statuses that failed and were tried again.", nil, nil),
	}
	if l.Facts != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "herald_speaker_claimed_addresses",
			Help: "Addresses that this node claims, and keeps until it goes or their old owner is back.",
		}, func() float64 { return float64(l.Facts.claims()) }))
	}
	reg.MustRegister(m.loaded, m.stale, m.round, m)
	return m
}

// Describe is a prometheus.Collector's.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.announced, m.decisions, m.updates, m.updateErrors} {
		to <- d
	}
}

// Collect is a prometheus.Collector's.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	counter(m.updates, m.loop.Inventory.updateCount())
	writeErrors := m.loop.Statuses.errorCount()
	if m.loop.BGP != nil {
		writeErrors += m.loop.BGP.Statuses.errorCount()
		m.collectRoutes(to)
	}
	counter(m.updateErrors, writeErrors)

	r := m.loop.reporter
	node := string(r.node)
	r.mu.Lock()
	defer r.mu.Unlock()
	for service, addresses := range r.announcing {
		for _, a := range addresses {
			to <- prometheus.MustNewConstMetric(m.announced, prometheus.GaugeValue, 1,
				service.String(), string(plan.Layer2), node, a.address.String())
		}
	}
	counts := make(map[lb.Reason]int)
	for _, rec := range r.records {
		for _, o := range rec.outcomes {
			counts[o.reason]++
		}
	}
	for reason, n := range counts {
		to <- prometheus.MustNewConstMetric(m.decisions, prometheus.GaugeValue, float64(n), string(plan.Layer2), reason.String())
	}
}

// collectRoutes tells about BGP what Collect does about Layer 2.
func (m *metrics) collectRoutes(to chan<- prometheus.Metric) {
	r := m.loop.routes.reporter
	r.mu.Lock()
	defer r.mu.Unlock()
	for service, addresses := range r.advertising {
		for _, a := range addresses {
			to <- prometheus.MustNewConstMetric(m.announced, prometheus.GaugeValue, 1,
				service.String(), string(plan.BGP), string(r.node), a.String())
		}
	}
	counts := make(map[lb.Reason]int)
	for _, decisions := range r.decisions {
		for _, d := range decisions {
			counts[d.Reason]++
		}
	}
	for reason, n := range counts {
		to <- prometheus.MustNewConstMetric(m.decisions, prometheus.GaugeValue, float64(n), string(plan.BGP), reason.String())
	}
}
