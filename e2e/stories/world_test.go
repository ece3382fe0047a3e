// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

const (
	topology   = "l2.clab.yml"
	heraldNS   = stage.Namespace
	lanLink    = "eth1" // of each node, and of the client
	startLimit = 10 * time.Minute
)

// world is the cluster that all stories share, and who is in it.
type world struct {
	stage  *stage.Stage
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
		if err := shared.world.stage.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "after the last story:", err)
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
	st, err := stage.Open(ctx, topology)
	if err != nil {
		return nil, err
	}
	w := &world{stage: st, lab: st.Lab, nodeOf: map[string]string{}}
	if err := errors.Join(w.meet(), st.Install(ctx)); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return w, nil
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
