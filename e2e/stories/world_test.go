// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

const (
	topology   = "../topologies/l2.clab.yml"
	heraldNS   = "metallb-system"
	lanLink    = "eth1" // of each node, and of the client
	startLimit = 10 * time.Minute
)

// world is the cluster that all stories share, and who is in it.
type world struct {
	lab    *lab.Lab
	client *lab.Host
	// nodes are the cluster's nodes, in order.
	nodes []string
	// nodeOf maps hardware addresses on the LAN to nodes.
	nodeOf map[string]string
}

// shared is the world of this run; it is made by the first story.
var shared struct {
	once  sync.Once
	world *world
	err   error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.world != nil {
		if err := errors.Join(shared.world.crashes(), shared.world.lab.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "after the last story:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// crashes returns an error for each log of Herald's that tells of a panic or, if it was
// built to look for them, of a data race.
func (w *world) crashes() error {
	var all []error
	for _, path := range w.heraldLogs() {
		raw, err := os.ReadFile(path)
		if err != nil {
			all = append(all, err)
			continue
		}
		for _, word := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
			if i := strings.Index(string(raw), word); i >= 0 {
				all = append(all, fmt.Errorf("%s: %s", filepath.Base(path), raw[i:min(len(raw), i+4000)]))
			}
		}
	}
	return errors.Join(all...)
}

// heraldLogs returns the files that Herald's processes have written to.
func (w *world) heraldLogs() []string {
	paths, _ := filepath.Glob(filepath.Join(w.lab.Dir(), "logs", "pods", heraldNS+"_*.log")) // the pattern is good
	return paths
}

// theWorld returns the world, or skips or fails the story.
func theWorld(t *testing.T) *world {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("stories need root on Linux: they are played in network namespaces")
	}
	shared.once.Do(func() { shared.world, shared.err = newWorld() })
	if shared.err != nil {
		t.Fatalf("no world to play in: %v", shared.err)
	}
	return shared.world
}

// newWorld starts the lab and installs Herald in it, the way a user does.
func newWorld() (_ *world, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	controller, err := programPath("controller")
	if err != nil {
		return nil, err
	}
	speaker, err := programPath("speaker")
	if err != nil {
		return nil, err
	}
	l, err := lab.Start(ctx, lab.Options{
		Topology: topology, Controller: controller, Speaker: speaker,
		Progress: func(what string) { fmt.Fprintln(os.Stderr, "lab:", what) },
	})
	if err != nil {
		return nil, err
	}
	w := &world{lab: l, nodeOf: map[string]string{}}
	if err := errors.Join(w.meet(), w.installHerald(ctx)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return w, nil
}

// programPath returns the path of one of Herald's programs.
func programPath(name string) (string, error) {
	dir := os.Getenv("HERALD_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		err = fmt.Errorf("find %s (make build makes it; HERALD_BIN names another folder): %w", name, err)
	}
	return path, err
}

// meet learns the names of the client and the nodes, and their hardware addresses.
func (w *world) meet() (err error) {
	if w.client, err = w.lab.Client("client1"); err != nil {
		return err
	}
	for _, node := range w.lab.Nodes() {
		mac, err := node.MAC(lanLink)
		if err != nil {
			return err
		}
		w.nodes = append(w.nodes, node.Name())
		w.nodeOf[mac.String()] = node.Name()
	}
	return nil
}

// installHerald applies config/default and returns when all of it is ready.
func (w *world) installHerald(ctx context.Context) error {
	if _, err := w.lab.Kubectl(ctx, "apply", "-k", "../../config/default"); err != nil {
		return fmt.Errorf("install Herald: %w", err)
	}
	for _, workload := range []string{"deployment/controller", "daemonset/speaker"} {
		if _, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "status", workload, "--timeout=60s"); err != nil {
			return fmt.Errorf("install Herald: %w", err)
		}
	}
	return nil
}
