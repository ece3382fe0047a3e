// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// plainLock grants everything, unless it fails.
type plainLock struct {
	resourcelock.Interface
	err error
}

func (l *plainLock) Identity() string { return "self" }

func (l *plainLock) Create(context.Context, resourcelock.LeaderElectionRecord) error { return l.err }

func (l *plainLock) Update(context.Context, resourcelock.LeaderElectionRecord) error { return l.err }

// countingPatcher counts what passes.
type countingPatcher struct{ passed int }

func (p *countingPatcher) PatchStatus(context.Context, string, string, types.PatchType, []byte) error {
	p.passed++
	return nil
}

func TestFenceLetsWritesPassWhileTheLeaseIsFresh(t *testing.T) {
	now := time.Unix(1000, 0)
	f := newFence()
	f.now = func() time.Time { return now }
	lock := &plainLock{}
	watched := f.watch(lock)
	patcher := &countingPatcher{}
	guarded := f.guard(patcher)
	ours := resourcelock.LeaderElectionRecord{HolderIdentity: "self"}

	steps := []struct {
		name string
		do   func() error
		pass bool
	}{
		{"nothing was acquired", func() error { return nil }, false},
		{"acquired", func() error { return watched.Create(t.Context(), ours) }, true},
		{"almost the deadline", func() error { now = now.Add(renewDeadline - 1); return nil }, true},
		{"the deadline", func() error { now = now.Add(1); return nil }, false},
		{"renewed", func() error { return watched.Update(t.Context(), ours) }, true},
		{"a renewal that fails", func() error {
			now, lock.err = now.Add(renewDeadline), errors.New("no API server")
			err := watched.Update(t.Context(), ours)
			if err == nil {
				return errors.New("the error was swallowed")
			}
			lock.err = nil
			return nil
		}, false},
		{"renewed again", func() error { return watched.Update(t.Context(), ours) }, true},
		{"given back", func() error {
			return watched.Update(t.Context(), resourcelock.LeaderElectionRecord{})
		}, false},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		before := patcher.passed
		err := guarded.PatchStatus(t.Context(), "ns", "name", types.MergePatchType, nil)
		if passed := patcher.passed > before; passed != step.pass || (err == nil) != step.pass {
			t.Errorf("%s: a write passed: %t, error %v; want it to pass: %t", step.name, passed, err, step.pass)
		}
	}
}
