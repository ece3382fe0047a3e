// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
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
}

func (w *world) frr() frrRouter    { return w.routers[0].(frrRouter) }
func (w *world) bird() *birdRouter { return w.routers[1].(*birdRouter) }

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
	if len(w.routers) == 2 {
		killed = w.bird().stop()
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
	if err := errors.Join(w.meet(), st.Install(ctx)); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// meet learns who is who.
func (w *world) meet() (err error) {
	if w.client, err = w.lab.Client("client1"); err != nil {
		return err
	}
	if err := w.meetRouters(); err != nil {
		return err
	}
	for _, node := range w.lab.Nodes() {
		w.nodes = append(w.nodes, node.Name())
		addresses, err := addressesOf(node.Host)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			w.nodeOf[a.String()] = node.Name()
		}
	}
	return nil
}

// meetRouters starts BIRD: the lab runs only FRR by itself.
func (w *world) meetRouters() error {
	frr, err := w.lab.Router("frr")
	if err != nil {
		return err
	}
	host, err := w.lab.Client("bird")
	if err != nil {
		return err
	}
	config, err := os.ReadFile(birdConfig)
	if err != nil {
		return err
	}
	bird, err := startBIRD(host, filepath.Join(w.lab.Dir(), "bird"), string(config))
	if err != nil {
		return err
	}
	w.routers = []router{frrRouter{frr}, bird}
	for _, daemon := range []string{"zebra", "bgpd", "bfdd"} {
		pid, err := w.lab.PID("frr/" + daemon)
		if err := errors.Join(err, hurry(pid)); err != nil {
			return err
		}
	}
	return hurry(bird.process.Process.Pid)
}

// addressesOf returns all addresses of a host, those of its links too.
func addressesOf(host *lab.Host) (addresses []netip.Addr, err error) {
	err = host.Netns().Enter(func() error {
		list, err := net.InterfaceAddrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
				addresses = append(addresses, p.Addr())
			}
		}
		return err
	})
	return addresses, err
}

// hurry has a process go before others, as if it had a processor of its own: routers and
// nodes have, where they are machines.
func hurry(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, thread := range threads {
		id, _ := strconv.Atoi(filepath.Base(thread)) // the kernel has numbers there
		err = errors.Join(err, syscall.Setpriority(syscall.PRIO_PROCESS, id, -20))
	}
	return err
}
