// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// sweepDelay is how long a node must be gone before its statuses are deleted. A
	// speaker that is merely restarted keeps them.
	sweepDelay = 10 * time.Second
	sweepRetry = 30 * time.Second
)

// sweeper deletes the statuses of nodes whose speakers are gone and cannot do it. One
// speaker of the cluster sweeps at a time, and lists once per dead node: with every
// speaker watching every status, each takeover would be news for all of them.
type sweeper struct {
	statuses *Statuses
	bell     chan struct{}

	mu sync.Mutex // guards due
	// due says when the statuses of a dead node may be deleted; the zero time means
	// that it has been done.
	due map[lb.NodeName]time.Time
}

func newSweeper(s *Statuses) *sweeper {
	return &sweeper{statuses: s, bell: make(chan struct{}, 1), due: make(map[lb.NodeName]time.Time)}
}

// set replaces the dead nodes. Those that were dead before keep their turn.
func (w *sweeper) set(dead []lb.NodeName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for node := range w.due {
		if !slices.Contains(dead, node) {
			delete(w.due, node)
		}
	}
	for _, node := range dead {
		if _, ok := w.due[node]; !ok {
			w.due[node] = time.Now().Add(sweepDelay)
			ring(w.bell)
		}
	}
}

func (w *sweeper) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.bell:
		case <-timer.C:
		}
		node, wait := w.next(time.Now())
		if node == "" {
			timer.Reset(wait)
			continue
		}
		again := time.Time{}
		if err := w.sweep(ctx, node); err != nil && ctx.Err() == nil {
			w.statuses.errors.Add(1)
			w.statuses.log.Warn("statuses of a dead node not deleted, trying again", lb.LogKeyMember, node, lb.LogKeyError, err)
			again = time.Now().Add(sweepRetry)
		}
		w.settle(node, again)
		timer.Reset(0)
	}
}

// next returns a node whose turn it is, or else how long to wait.
func (w *sweeper) next(now time.Time) (lb.NodeName, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := time.Hour
	for node, due := range w.due {
		switch {
		case due.IsZero():
		case !now.Before(due):
			return node, 0
		default:
			wait = min(wait, due.Sub(now))
		}
	}
	return "", wait
}

func (w *sweeper) settle(node lb.NodeName, again time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.due[node]; ok {
		w.due[node] = again
	}
}

func (w *sweeper) sweep(ctx context.Context, node lb.NodeName) error {
	s := w.statuses
	left, err := s.api.ListMetadata(ctx, s.owner.Namespace, nodeSelector(node))
	if err != nil {
		return err
	}
	for i := range left {
		if err := s.api.Delete(ctx, s.owner.Namespace, left[i].Name, left[i].UID); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		s.log.Info("statuses of a dead node deleted", lb.LogKeyMember, node, lb.LogKeyCount, len(left))
	}
	return nil
}

// labelValue returns name as a label can have it.
func labelValue(name string) string { return kube.LabelValue(name) }
