// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// gathered returns every sample as "name{labels} value"; of histograms the count.
func gathered(t *testing.T, g prometheus.Gatherer) []string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var samples []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			samples = append(samples, fmt.Sprintf("%s{%s} %g", f.GetName(), strings.Join(labels, ","), value))
		}
	}
	slices.Sort(samples)
	return samples
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	follower := []string{
		"herald_controller_leader_bool{} 0",
		"metallb_k8s_client_config_loaded_bool{} 0",
		"metallb_k8s_client_config_stale_bool{} 0",
		"metallb_k8s_client_update_errors_total{} 0",
		"metallb_k8s_client_updates_total{} 0",
	}
	if diff := cmp.Diff(follower, gathered(t, registry)); diff != "" {
		t.Errorf("of a replica that does not lead (-want +got):\n%s", diff)
	}

	out := newOutbox(nil, nil, m, slog.New(slog.DiscardHandler))
	t.Cleanup(out.queue.ShutDown)
	m.beginTerm(out, func() uint64 { return 3 })
	m.configLoaded.Set(1)
	m.observeWrite(time.Millisecond, nil)
	m.observeWrite(time.Millisecond, errors.New("refused"))
	m.books.Store(&books{
		usages: []ipam.Usage{
			{Pool: "a", AssignedIPv4: 2, AvailableIPv4: 5, ReservedIPv4: 1, AssignedIPv6: 1, AvailableIPv6: 1, ReservedIPv6: 2},
			{Pool: "big", AssignedIPv6: 5, AvailableIPv6: math.MaxInt64},
		},
		services: map[lb.Reason]int{lb.ReasonAllocated: 3, lb.ReasonPoolFull: 1},
		waiting:  1,

		reservations: map[v1alpha1.ReservationState]int{v1alpha1.ReservationHeld: 3},
	})
	huge := fmt.Sprintf(" %g", float64(math.MaxInt64))
	leader := []string{
		"herald_allocator_addresses_reserved{pool=a} 3",
		"herald_allocator_addresses_reserved{pool=big} 0",
		"herald_allocator_ipv4_addresses_reserved{pool=a} 1",
		"herald_allocator_ipv4_addresses_reserved{pool=big} 0",
		"herald_allocator_ipv6_addresses_reserved{pool=a} 2",
		"herald_allocator_ipv6_addresses_reserved{pool=big} 0",
		"herald_controller_reservations{state=Held} 3",
		"herald_controller_events_dropped_total{} 3",
		"herald_controller_leader_bool{} 1",
		"herald_controller_services_waiting{} 1",
		"herald_controller_services{reason=Allocated} 3",
		"herald_controller_services{reason=PoolFull} 1",
		"herald_controller_status_write_seconds{result=accepted} 1",
		"herald_controller_status_write_seconds{result=refused} 1",
		"herald_controller_status_writes_pending{} 0",
		"metallb_allocator_addresses_in_use_total{pool=a} 3",
		"metallb_allocator_addresses_in_use_total{pool=big} 5",
		"metallb_allocator_addresses_total{pool=a} 12",
		"metallb_allocator_addresses_total{pool=big}" + huge,
		"metallb_allocator_ipv4_addresses_in_use_total{pool=a} 2",
		"metallb_allocator_ipv4_addresses_in_use_total{pool=big} 0",
		"metallb_allocator_ipv4_addresses_total{pool=a} 8",
		"metallb_allocator_ipv4_addresses_total{pool=big} 0",
		"metallb_allocator_ipv6_addresses_in_use_total{pool=a} 1",
		"metallb_allocator_ipv6_addresses_in_use_total{pool=big} 5",
		"metallb_allocator_ipv6_addresses_total{pool=a} 4",
		"metallb_allocator_ipv6_addresses_total{pool=big}" + huge,
		"metallb_k8s_client_config_loaded_bool{} 1",
		"metallb_k8s_client_config_stale_bool{} 0",
		"metallb_k8s_client_update_errors_total{} 1",
		"metallb_k8s_client_updates_total{} 2",
	}
	slices.Sort(leader)
	if diff := cmp.Diff(leader, gathered(t, registry)); diff != "" {
		t.Errorf("of the leader (-want +got):\n%s", diff)
	}
	m.endTerm()
	if got := gathered(t, registry); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "pool=") }) {
		t.Errorf("a replica that leads no more still tells of pools: %v", got)
	}
}
