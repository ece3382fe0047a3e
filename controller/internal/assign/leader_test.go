// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lectern is a Lease in memory, which several replicas compete for.
type lectern struct {
	mu     sync.Mutex
	record *resourcelock.LeaderElectionRecord
	broken bool
}

func (l *lectern) absent() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "metallb-controller")
}

func (l *lectern) set(r *resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("connection refused")
	}
	l.record = r
	return nil
}

func (l *lectern) get() (*resourcelock.LeaderElectionRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken:
		return nil, errors.New("connection refused")
	case l.record == nil:
		return nil, l.absent()
	}
	r := *l.record
	return &r, nil
}

// Get implements leases.
func (l *lectern) Get(context.Context, string, string) (*coordinationv1.Lease, error) {
	r, err := l.get()
	if err != nil {
		return nil, err
	}
	spec := resourcelock.LeaderElectionRecordToLeaseSpec(r)
	return &coordinationv1.Lease{Spec: spec}, nil
}

// claimTo is the lock as one replica has it.
type claimTo struct {
	*lectern
	identity string
}

func (c claimTo) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, err := c.get()
	if err != nil {
		return nil, nil, err
	}
	raw, err := json.Marshal(r)
	return r, raw, err
}

func (c claimTo) Create(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return c.set(&r)
}

func (c claimTo) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return c.set(&r)
}
func (c claimTo) RecordEvent(string) {}
func (c claimTo) Identity() string   { return c.identity }
func (c claimTo) Describe() string   { return "metallb-controller" }

// replica is a candidate whose terms are noted.
type replica struct {
	candidate
	mu      sync.Mutex
	leading bool
	terms   []bool // whether each began fresh
	stop    func()
}

func stands(t *testing.T, l *lectern, name string) *replica {
	r := &replica{candidate: candidate{lock: claimTo{l, name}, leases: l, log: slog.New(slog.DiscardHandler)}}
	r.term = func(ctx context.Context, fresh bool) error {
		r.note(true)
		r.mu.Lock()
		r.terms = append(r.terms, fresh)
		r.mu.Unlock()
		<-ctx.Done()
		time.Sleep(time.Second) // it takes a while to stop
		r.note(false)
		return nil
	}
	r.before = r.look(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.run(ctx); err != nil {
			t.Error(err)
		}
	}()
	r.stop = func() { cancel(); <-done }
	return r
}

func (r *replica) note(leading bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading = leading
}

func (r *replica) leads() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leading
}

func TestLeaseIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lectern{}
		a := stands(t, l, "a")
		synctest.Wait()
		b := stands(t, l, "b")
		time.Sleep(time.Minute)
		if !a.leads() || b.leads() {
			t.Fatalf("a leads: %v, b leads: %v; want a alone", a.leads(), b.leads())
		}
		a.stop()
		if a.leads() {
			t.Error("a has given the Lease back and is still leading")
		}
		began := time.Now()
		for !b.leads() {
			time.Sleep(100 * time.Millisecond)
		}
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("b leads %s after a has stopped, want a few seconds", waited)
		}
		if !a.terms[0] || b.terms[0] {
			t.Errorf("terms begin fresh: a %v, b %v; want a, who was alone, and not b", a.terms, b.terms)
		}
		b.stop()
		// Whoever comes next begins after the Lease was given back.
		c := stands(t, l, "c")
		synctest.Wait()
		if !c.leads() || !c.terms[0] {
			t.Errorf("c leads: %v, terms fresh: %v; want both", c.leads(), c.terms)
		}
		c.stop()
	})
}

func TestLeaderStepsDownAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lectern{}
		a := stands(t, l, "a")
		synctest.Wait()
		l.mu.Lock()
		l.broken = true
		l.mu.Unlock()
		time.Sleep(leaseDuration - time.Second)
		if a.leads() {
			t.Error("a leads while its Lease may have run out")
		}
		l.mu.Lock()
		l.broken = false
		l.mu.Unlock()
		time.Sleep(time.Minute)
		if !a.leads() {
			t.Error("a does not lead again")
		}
		if len(a.terms) != 2 || a.terms[1] {
			t.Errorf("terms begin fresh: %v; want two, the second not", a.terms)
		}
		a.stop()
	})
}

func TestRestartedContainerLeadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := resourcelock.LeaderElectionRecord{HolderIdentity: "a", LeaseDurationSeconds: 15, LeaderTransitions: 3}
		now.AcquireTime.Time, now.RenewTime.Time = time.Now(), time.Now()
		l := &lectern{record: &now}
		a := stands(t, l, "a")
		synctest.Wait()
		if !a.leads() || !a.terms[0] {
			t.Errorf("a leads: %v, fresh: %v; want both at once, for it is its own Lease", a.leads(), a.terms)
		}
		a.stop()
	})
}
