// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// programGrace is how long a lab's program may take to end by itself: it ends
// all pods in good order first.
const programGrace = 45 * time.Second

// sweep removes everything of a lab. It does not trust the record further than
// its name: processes are found by the namespaces they are in.
func (r *Registry) sweep(rec Record) error {
	if rec.Program.Alive() && rec.Program.PID != os.Getpid() {
		if err := rec.Program.end(programGrace); err != nil {
			return err
		}
	}
	if err := Clean(rec.Prefix()); err != nil {
		return err
	}
	if err := fabric.RemoveLink(rec.HostLink()); err != nil {
		return err
	}
	return r.Forget(rec)
}

// Clean ends every process in the network namespaces whose names start with
// prefix, and removes the namespaces.
func Clean(prefix string) error {
	names, err := netns.List(prefix)
	if err != nil {
		return err
	}
	if err := endProcessesIn(names); err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		ns, err := netns.Open(name)
		if err != nil {
			continue // gone in the meantime
		}
		errs = append(errs, ns.Remove())
	}
	return errors.Join(errs...)
}

// fileID identifies a namespace by the file that stands for it.
type fileID struct{ dev, ino uint64 }

func identify(path string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fileID{}, fmt.Errorf("identify %s: %w", path, err)
	}
	return fileID{dev: st.Dev, ino: st.Ino}, nil
}

// endProcessesIn kills until nothing is left: a process may start another while
// the list is being read.
func endProcessesIn(names []string) error {
	namespaces := map[fileID]bool{}
	for _, name := range names {
		if id, err := identify(filepath.Join(netns.Dir, name)); err == nil {
			namespaces[id] = true
		}
	}
	if len(namespaces) == 0 {
		return nil
	}
	const rounds = 20
	for range rounds {
		found, err := processesIn(namespaces)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, p := range found {
			if err := p.end(0); err != nil {
				return err
			}
		}
	}
	return errors.New("end the lab's processes: they start faster than they end")
}

// processesIn returns the processes whose main thread is in one of the
// namespaces, except the calling one.
func processesIn(namespaces map[fileID]bool) ([]Task, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []Task
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// The start time is read before the namespace: if the number changes hands
		// in between, end finds a mismatch and leaves the process alone.
		start, err := startTime(pid)
		if err != nil {
			continue
		}
		if id, err := identify(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && namespaces[id] {
			found = append(found, Task{PID: pid, Start: start})
		}
	}
	return found, nil
}
