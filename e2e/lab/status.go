// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"maps"
	"slices"

	"github.com/herald-lb/herald/e2e/lab/internal/controlplane"
	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
)

// Running is a process of the lab as Status shows it.
type Running struct {
	// Target is what Pause, Kill and their like call it.
	Target string
	// PID is 0 while it is not running.
	PID      int
	Restarts int
}

// Status returns all processes that the lab keeps running: the control plane's,
// the routers', then each node's.
func (l *Lab) Status() []Running {
	var list []Running
	for _, name := range []string{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager} {
		k := l.control.Keeper(name)
		list = append(list, Running{Target: fabric.ControlPlane + "/" + name, PID: k.PID(), Restarts: k.Restarts()})
	}
	for _, name := range slices.Sorted(maps.Keys(l.routers)) {
		for _, daemon := range l.routers[name].Daemons() {
			k := l.routers[name].Keeper(daemon)
			list = append(list, Running{Target: k.Name(), PID: k.PID(), Restarts: k.Restarts()})
		}
	}
	for _, n := range l.Nodes() {
		list = append(list, Running{Target: n.Name() + "/kube-proxy", PID: n.proxy.PID(), Restarts: n.proxy.Restarts()})
		for _, c := range l.kubelet.ContainersOf(n.Name()) {
			list = append(list, Running{Target: n.Name() + "/" + c.Pod(), PID: c.PID(), Restarts: c.Restarts()})
		}
	}
	return list
}
