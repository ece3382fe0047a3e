// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

const (
	topology   = "bgp.clab.yml"
	birdConfig = "../../topologies/bgp/bird.conf"
	heraldNS   = stage.Namespace
	startLimit = 10 * time.Minute
)

// world is the cluster that all stories share, and the routers around it.
type world struct {
	stage  *stage.Stage
	lab    *lab.Lab
	client *lab.Host
	// nodes are the cluster's nodes, in order, and nodeOf finds them by address.
	nodes   []string
	nodeOf  map[string]string
	routers []router
	bird    *exec.Cmd
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
		if err := shared.world.close(); err != nil {
			fmt.Fprintln(os.Stderr, "after the last story:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// close ends the world, and reports programs of Herald's that have crashed in it.
func (w *world) close() error {
	var killed error
	if w.bird != nil {
		killed = w.bird.Process.Kill()
		_ = w.bird.Wait() // it has been killed
	}
	return errors.Join(killed, w.stage.Close())
}

// theWorld returns the world, or skips or fails the story.
func theWorld(t *testing.T) *world {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("stories need root on Linux: they are played in network namespaces")
	}
	for _, program := range []string{"/usr/lib/frr/bgpd", "/usr/sbin/bird"} {
		if _, err := os.Stat(program); err != nil {
			t.Skip("needs Debian's packages frr and bird2")
		}
	}
	shared.once.Do(func() { shared.world, shared.err = newWorld() })
	if shared.err != nil {
		t.Fatalf("no world to play in: %v", shared.err)
	}
	return shared.world
}

// newWorld starts the lab and BIRD, and installs Herald the way a user does.
func newWorld() (_ *world, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	st, err := stage.Open(ctx, topology)
	if err != nil {
		return nil, err
	}
	w := &world{stage: st, lab: st.Lab, nodeOf: map[string]string{}}
	if err := errors.Join(w.meet(), w.startBIRD(), st.Install(ctx)); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// meet learns who is who.
func (w *world) meet() (err error) {
	if w.client, err = w.lab.Client("client1"); err != nil {
		return err
	}
	frr, err := w.lab.Router("frr")
	if err != nil {
		return err
	}
	bird, err := w.lab.Client("bird")
	if err != nil {
		return err
	}
	w.routers = []router{frrRouter{frr}, birdRouter{bird, filepath.Join(w.lab.Dir(), "bird.ctl")}}
	for _, node := range w.lab.Nodes() {
		w.nodes = append(w.nodes, node.Name())
		addresses, err := node.Addresses("eth1")
		if err != nil {
			return err
		}
		for _, a := range addresses {
			w.nodeOf[a.String()] = node.Name()
		}
	}
	return nil
}

// startBIRD starts BIRD on its host.
func (w *world) startBIRD() error {
	host, err := w.lab.Client("bird")
	if err != nil {
		return err
	}
	config, err := filepath.Abs(birdConfig)
	if err != nil {
		return err
	}
	// It outlives the start, and is ended by close.
	w.bird = host.Command(context.Background(), "bird", "-f", "-c", config, "-s", filepath.Join(w.lab.Dir(), "bird.ctl"))
	return w.bird.Start()
}
