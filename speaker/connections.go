// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/flows"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// newConnections returns what keeps connections when addresses move; nil if that is turned
// off.
func newConnections(f *flags, lan *layer2.Announcer, log *slog.Logger, reg prometheus.Registerer) *announce.Connections {
	if f.keepConnections == 0 {
		return nil
	}
	connections := announce.NewConnections(announce.ConnectionsConfig{
		Open: func() (announce.ConnectionTable, error) { return flows.Open() },
		LAN:  lan, Lifetime: f.keepConnections, Log: log,
	})
	reg.MustRegister(connections)
	return connections
}
