// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/procfs"

	"github.com/herald-lb/herald/e2e/internal/await"
)

// harm makes the fault, and returns how to undo it. When it returns, the fault has taken
// effect: on a machine that is busy, a process may go on for a while after a signal.
func (t *trial) harm(ctx context.Context) (undo func() error, err error) {
	w, name := t.world, t.victim.Name()
	nothing := func() error { return nil }
	switch t.fault {
	case "cut":
		return t.victim.Rejoin, t.victim.Isolate()
	case "kill": // the lab starts it again
		return nothing, errors.Join(w.strike(ctx, w.lab.Kill, name+"/speaker", "Z"), w.client.FlushNeighbors())
	case "freeze":
		frozen := []string{name + "/speaker", name + "/kube-proxy"}
		undo = func() error {
			var errs []error
			for _, target := range frozen {
				errs = append(errs, w.lab.Continue(target))
			}
			return errors.Join(errs...)
		}
		for _, target := range frozen {
			err = errors.Join(err, w.strike(ctx, w.lab.Pause, target, "T"))
		}
		return undo, errors.Join(err, w.client.FlushNeighbors())
	}
	return nothing, fmt.Errorf("fault %q: want cut, kill, freeze, partition, oneway, roll or drain", t.fault)
}

// strike sends a process a signal and waits until it is in a state of proc(5), or gone.
func (w *world) strike(ctx context.Context, signal func(string) error, target, state string) error {
	pid, err := w.lab.PID(target)
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("%s does not run", target)
	}
	if err := signal(target); err != nil {
		return err
	}
	return await.Until(ctx, time.Second, time.Millisecond, func() error {
		stat, err := statOf(pid)
		if err == nil && stat.State != state {
			return fmt.Errorf("%s is in state %s, want %s", target, stat.State, state)
		}
		return nil // nobody waits for a process that is gone
	})
}

// statOf returns what the kernel says about a process (proc_pid_stat(5)).
func statOf(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}
