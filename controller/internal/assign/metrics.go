// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// metrics are the controller's. What describes a state is computed when somebody
// asks, from the books of the decider, so that it cannot drift.
type metrics struct {
	books atomic.Pointer[books]  // nil: this replica does not lead
	out   atomic.Pointer[outbox] // nil: likewise
	drops atomic.Pointer[func() uint64]

	updates, updateErrors prometheus.Counter
	writes                *prometheus.HistogramVec
	configLoaded          prometheus.Gauge

	poolTotals                                []poolTotal
	services, gaps, waiting, pending, dropped *prometheus.Desc
	reservations                              *prometheus.Desc
	leader                                    *prometheus.Desc
}

// poolTotal is one of the gauges about a pool.
type poolTotal struct {
	desc  *prometheus.Desc
	value func(ipam.Usage) int64
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &metrics{
		updates:      counter("metallb_k8s_client_updates_total", "Number of status writes."),
		updateErrors: counter("metallb_k8s_client_update_errors_total", "Number of status writes that the API server refused."),
		writes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "herald_controller_status_write_seconds",
			Help:    "How long the API server took to accept or refuse the status of a Service.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"result"}),
		configLoaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metallb_k8s_client_config_loaded_bool", Help: "1 once the configuration has been read.",
		}),
		poolTotals: poolTotals(desc),
		services:   desc("herald_controller_services", "Services of type LoadBalancer, by the reason of the last decision.", "reason"),
		gaps: desc("herald_controller_services_not_announced",
			"Services with an address that no node can announce, by the reason.", "reason"),
		waiting:      desc("herald_controller_services_waiting", "Services that have not all that they ask for."),
		pending:      desc("herald_controller_status_writes_pending", "Decisions that the API server has not got yet."),
		dropped:      desc("herald_controller_events_dropped_total", "Events that were dropped because too many waited."),
		reservations: desc("herald_controller_reservations", "AddressReservations, by their state.", "state"),
		leader:       desc("herald_controller_leader_bool", "1 if this replica holds the Lease and assigns addresses."),
	}
	// There is no last good configuration that could be stale: a bad object costs
	// only itself. The gauge is kept for alerts that look at it.
	stale := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "metallb_k8s_client_config_stale_bool", Help: "Always 0: an invalid object never keeps an old configuration in force.",
	})
	for _, c := range []prometheus.Collector{m.updates, m.updateErrors, m.writes, m.configLoaded, stale, m} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func poolTotals(desc func(name, help string, labels ...string) *prometheus.Desc) []poolTotal {
	gauge := func(name, help string, value func(ipam.Usage) int64) poolTotal {
		return poolTotal{desc(name, help, "pool"), value}
	}
	v4 := func(u ipam.Usage) int64 { return sum(u.ReservedIPv4, sum(u.AssignedIPv4, u.AvailableIPv4)) }
	v6 := func(u ipam.Usage) int64 { return sum(u.ReservedIPv6, sum(u.AssignedIPv6, u.AvailableIPv6)) }
	return []poolTotal{
		gauge("herald_allocator_addresses_reserved", "Addresses of the pool that nobody has and that are kept for a Service.",
			func(u ipam.Usage) int64 { return sum(u.ReservedIPv4, u.ReservedIPv6) }),
		gauge("herald_allocator_ipv4_addresses_reserved", "The same of IPv4 addresses.", func(u ipam.Usage) int64 { return u.ReservedIPv4 }),
		gauge("herald_allocator_ipv6_addresses_reserved", "The same of IPv6 addresses.", func(u ipam.Usage) int64 { return u.ReservedIPv6 }),
		gauge("metallb_allocator_addresses_total", "Usable addresses of the pool.", func(u ipam.Usage) int64 { return sum(v4(u), v6(u)) }),
		gauge("metallb_allocator_addresses_in_use_total", "Addresses of the pool in use.", func(u ipam.Usage) int64 { return sum(u.AssignedIPv4, u.AssignedIPv6) }),
		gauge("metallb_allocator_ipv4_addresses_total", "Usable IPv4 addresses of the pool.", v4),
		gauge("metallb_allocator_ipv4_addresses_in_use_total", "IPv4 addresses of the pool in use.", func(u ipam.Usage) int64 { return u.AssignedIPv4 }),
		gauge("metallb_allocator_ipv6_addresses_total", "Usable IPv6 addresses of the pool.", v6),
		gauge("metallb_allocator_ipv6_addresses_in_use_total", "IPv6 addresses of the pool in use.", func(u ipam.Usage) int64 { return u.AssignedIPv6 }),
	}
}

// sum adds counters, saturating: math.MaxInt64 stands for that many or more.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, t := range m.poolTotals {
		ch <- t.desc
	}
	for _, d := range []*prometheus.Desc{m.services, m.gaps, m.waiting, m.pending, m.dropped, m.reservations, m.leader} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	out := m.out.Load()
	if out == nil {
		gauge(m.leader, 0)
		return
	}
	gauge(m.leader, 1)
	gauge(m.pending, float64(out.backlog()))
	if drops := m.drops.Load(); drops != nil {
		ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64((*drops)()))
	}
	b := m.books.Load()
	if b == nil {
		return
	}
	gauge(m.waiting, float64(b.waiting))
	for _, reason := range lb.Reasons() {
		if n, ok := b.services[reason]; ok {
			gauge(m.services, float64(n), reason.String())
		}
		if n, ok := b.gaps[reason]; ok && reason != lb.ReasonAnnounced {
			gauge(m.gaps, float64(n), reason.String())
		}
	}
	for state, n := range b.reservations {
		gauge(m.reservations, float64(n), string(state))
	}
	for _, u := range b.usages {
		for _, t := range m.poolTotals {
			gauge(t.desc, float64(t.value(u)), u.Pool)
		}
	}
}

func (m *metrics) observeWrite(took time.Duration, err error) {
	result := "accepted"
	if err != nil {
		result = "refused"
	}
	m.writes.WithLabelValues(result).Observe(took.Seconds())
	m.countUpdate(err)
}

func (m *metrics) countUpdate(err error) {
	m.updates.Inc()
	if err != nil {
		m.updateErrors.Inc()
	}
}

// beginTerm and endTerm say whose numbers are to be shown.
func (m *metrics) beginTerm(out *outbox, drops func() uint64) {
	m.drops.Store(&drops)
	m.out.Store(out)
}

func (m *metrics) endTerm() {
	m.out.Store(nil)
	m.drops.Store(nil)
	m.books.Store(nil)
}
