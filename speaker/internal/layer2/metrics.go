// SPDX-License-Identifier: Apache-2.0

package layer2

import "github.com/prometheus/client_golang/prometheus"

// metrics renders the counters of the table when it is asked to. The hot path
// counts in the entry that it has found anyhow, and looks up no label; when an
// address goes, so do its series.
type metrics struct {
	table      *table
	requests   *prometheus.Desc
	responses  *prometheus.Desc
	gratuitous *prometheus.Desc
}

func newMetrics(t *table) *metrics {
	labels := []string{"ip"}
	return &metrics{
		table: t,
		requests: prometheus.NewDesc("metallb_layer2_requests_received",
			"ARP requests and neighbor solicitations received for an address announced by this node.", labels, nil),
		responses: prometheus.NewDesc("metallb_layer2_responses_sent",
			"ARP replies and neighbor advertisements sent in answer, by address.", labels, nil),
		gratuitous: prometheus.NewDesc("metallb_layer2_gratuitous_sent",
			"Gratuitous ARP packets and unsolicited neighbor advertisements sent, by address.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	c <- m.requests
	c <- m.responses
	c <- m.gratuitous
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	for e := range m.table.all() {
		ip := e.Address.String()
		counter := func(d *prometheus.Desc, value uint64) {
			c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), ip)
		}
		counter(m.requests, e.counters.requests.Load())
		counter(m.responses, e.counters.responses.Load())
		counter(m.gratuitous, e.counters.gratuitous.Load())
	}
}
