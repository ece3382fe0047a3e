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
		if err := shared.world.lab.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "end the lab:", err)
			code = 1
		}
	}
	os.Exit(code)
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
	l, err := lab.Start(ctx, lab.Options{Topology: topology})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	w := &world{lab: l, nodeOf: map[string]string{}}
	if w.client, err = l.Client("client1"); err != nil {
		return nil, err
	}
	if err := w.meetNodes(ctx); err != nil {
		return nil, err
	}
	return w, w.installHerald(ctx)
}

// meetNodes learns the nodes' names and hardware addresses.
func (w *world) meetNodes(ctx context.Context) error {
	for _, name := range []string{"k8s-worker", "k8s-worker2", "k8s-worker3"} {
		node, err := w.lab.Node(name)
		if err != nil {
			return err
		}
		mac, err := node.Exec(ctx, "cat", "/sys/class/net/"+lanLink+"/address")
		if err != nil {
			return err
		}
		w.nodes = append(w.nodes, name)
		w.nodeOf[strings.TrimSpace(mac)] = name
	}
	return nil
}

// installHerald applies config/default and returns when all of it is ready.
func (w *world) installHerald(ctx context.Context) error {
	if _, err := w.lab.Kubectl(ctx, "apply", "-k", "../../config/default"); err != nil {
		return fmt.Errorf("install Herald: %w", err)
	}
	for _, workload := range []string{"deployment/controller", "daemonset/speaker"} {
		out, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "status", workload, "--timeout=60s")
		if err != nil {
			return fmt.Errorf("install Herald: %s: %w", out, err)
		}
	}
	return nil
}

// programPath returns the path of one of Herald's programs.
func programPath(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("HERALD_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("find %s (make build makes it; HERALD_BIN names another folder): %v", name, err)
	}
	return path
}
