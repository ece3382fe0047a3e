// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"path/filepath"

	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/internal/registry"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// Summary describes a lab of this machine from outside.
type Summary struct {
	Name     string
	Topology string
	// PID is the program that runs it.
	PID int
	// Alive is false for a lab whose program has died: what is left of it is
	// removed by Remove, and by the next Start.
	Alive bool
	// Ready is false while it is starting.
	Ready      bool
	Dir        string
	Kubeconfig string
	// Socket is where a lab that was started by the command line listens.
	Socket string
}

// List returns all labs of this machine in order of their names.
func List() ([]Summary, error) {
	reg, err := registry.Open(registryDir)
	if err != nil {
		return nil, err
	}
	records, err := reg.List()
	if err != nil {
		return nil, err
	}
	summaries := make([]Summary, len(records))
	for i, r := range records {
		summaries[i] = summarize(r)
	}
	return summaries, nil
}

func summarize(r registry.Record) Summary {
	return Summary{
		Name: r.Name, Topology: r.Topology, PID: r.Program.PID, Alive: r.Program.Alive(), Ready: r.Ready, Dir: r.Dir,
		Kubeconfig: filepath.Join(r.Dir, "credentials", "admin.kubeconfig"),
		Socket:     filepath.Join(registryDir, r.Name, "control.sock"),
	}
}

// Summary describes the lab.
func (l *Lab) Summary() Summary { return summarize(l.record) }

// Remove ends a lab from outside, whoever started it and whether or not that
// program still runs, and leaves nothing of it behind.
func Remove(name string) error {
	if err := checkMachine(); err != nil {
		return err
	}
	reg, err := registry.Open(registryDir)
	if err != nil {
		return err
	}
	record, err := reg.Get(name)
	if err != nil {
		return err
	}
	return reg.Remove(record)
}

// NameFor makes a lab's name out of a topology's file name.
func NameFor(topology string) string { return registry.NameFor(topology) }

// OpenHost returns the namespace of a host or pod of a lab that another program
// runs.
func OpenHost(name, host string) (*netns.Namespace, error) {
	prefix := registry.Record{Name: name}.Prefix()
	ns, err := netns.Open(prefix + host)
	if err != nil {
		return nil, fmt.Errorf("find host %q of lab %s: there is none; the control plane's is %q", host, name, fabric.ControlPlane)
	}
	return ns, nil
}
