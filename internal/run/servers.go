// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"log/slog"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/rest"
)

// NewRegistry returns a registry that already knows the process: the go_* and
// process_* metrics, and herald_build_info with the version as a label.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "herald_build_info",
		Help:        "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"version": Version(), "go_version": runtime.Version()},
	})
	build.Set(1)
	registry.MustRegister(
		build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}

// ServerTasks returns the tasks that answer others about this process: health
// probes, metrics and profiles, without those that the options disable. name
// is the process's own; config reaches the API server that judges scrapers.
// Put them first in [Tasks], so that they answer until the very end.
func ServerTasks(name string, o *Options, probes Probes, metrics prometheus.Gatherer, config *rest.Config, log *slog.Logger) ([]Task, error) {
	var tasks []Task
	if address := o.HealthAddress(); address != "" {
		tasks = append(tasks, Task{Name: "health server", Run: HealthServer(address, probes, log).Run})
	}
	if o.MetricsAddress() != "" {
		reviewer, err := NewAPIReviewer(config)
		if err != nil {
			return nil, fmt.Errorf("prepare the metrics server: %w", err)
		}
		server, err := MetricsServer(name, o, metrics, reviewer, log)
		if err != nil {
			return nil, fmt.Errorf("prepare the metrics server: %w", err)
		}
		tasks = append(tasks, Task{Name: "metrics server", Run: server.Run})
	}
	if o.PprofAddress != "" {
		tasks = append(tasks, Task{Name: "profile server", Run: PprofServer(o.PprofAddress, log).Run})
	}
	return tasks, nil
}
