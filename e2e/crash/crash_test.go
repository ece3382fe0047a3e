// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/e2e/lab"
)

var (
	kills = flag.Int("kills", 200, "how often the controller is killed")
	seed  = flag.Uint64("seed", 0, "seed of everything random; 0 makes one up")
)

// settleLimit is how long the last controller may take to give everybody an address.
const settleLimit = time.Minute

func TestControllerKilledUnderChurn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the lab makes network namespaces and needs root")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("%d kills, -seed %d", *kills, *seed)
	l, err := lab.Start(t.Context(), lab.Options{NodesOff: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, l, rand.New(rand.NewPCG(*seed, 0)))
	w.populate(t)

	observed := newObserver(w.stable)
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	var background errgroup.Group
	background.Go(func() error { return observed.watch(watching, w.api) })

	churning, stopChurning := context.WithCancel(t.Context())
	defer stopChurning()
	background.Go(func() error { return w.churn(churning) })

	kill(t, l, w.random)
	stopChurning()

	// One controller that is left alone must now bring everything in order.
	c := startController(t, l)
	if err := w.awaitSettled(t.Context(), settleLimit); err != nil {
		t.Error(err)
	}
	c.stop(t)
	stopWatching()
	if err := background.Wait(); err != nil {
		t.Error(err)
	}
	for _, violation := range observed.violations() {
		t.Error(violation)
	}
	t.Logf("%d changes made, %d states of Services seen", w.changes.Load(), observed.seen())
	if observed.assignments() < *kills {
		t.Errorf("only %d assignments seen in %d terms: the controller hardly worked", observed.assignments(), *kills)
	}
}

// kill starts the controller and kills it, each time after a while that may be too
// short to read anything and may be long enough to be idle.
func kill(t *testing.T, l *lab.Lab, random *rand.Rand) {
	t.Helper()
	for n := range *kills {
		c := startController(t, l)
		life := time.NewTimer(time.Duration(50+random.IntN(650)) * time.Millisecond)
		select {
		case err := <-c.exited:
			t.Fatalf("the controller ended by itself in term %d: %v", n, err)
		case <-life.C:
		}
		c.kill(t)
	}
}
