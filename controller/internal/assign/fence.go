// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// errNotLeading is the error of a write that came too late.
var errNotLeading = errors.New("hold back the write: the Lease was not renewed in time, another replica may lead")

// fence lets writes pass while the Lease is fresh. The end of a term stops writes too,
// but it has to be noticed first: a process that was stopped and goes on may send what
// it had decided before, past decisions of the replica that leads by then.
//
// It is safe for concurrent use.
type fence struct {
	now func() time.Time
	// renewed is when the request began that renewed the Lease. Nil: not ours.
	renewed atomic.Pointer[time.Time]
}

func newFence() *fence { return &fence{now: time.Now} }

// open reports whether nobody else can lead yet. The clock is the one that goes on
// while the process is stopped.
func (f *fence) open() bool {
	renewed := f.renewed.Load()
	return renewed != nil && f.now().Sub(*renewed) < renewDeadline
}

// watch returns lock, with its renewals noted.
func (f *fence) watch(lock resourcelock.Interface) resourcelock.Interface {
	return &watchedLock{Interface: lock, fence: f}
}

// guard returns to, without what comes too late.
func (f *fence) guard(to statusPatcher) statusPatcher { return &guardedPatcher{to, f} }

type watchedLock struct {
	resourcelock.Interface
	fence *fence
}

func (l *watchedLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.note(record, func() error { return l.Interface.Create(ctx, record) })
}

func (l *watchedLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.note(record, func() error { return l.Interface.Update(ctx, record) })
}

// note writes a record and remembers since when others know of it. One without a
// holder gives the Lease back.
func (l *watchedLock) note(record resourcelock.LeaderElectionRecord, write func() error) error {
	began := l.fence.now()
	err := write()
	switch {
	case err != nil:
	case record.HolderIdentity == l.Identity():
		l.fence.renewed.Store(&began)
	default:
		l.fence.renewed.Store(nil)
	}
	return err
}

type guardedPatcher struct {
	statusPatcher
	fence *fence
}

func (p *guardedPatcher) PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	if !p.fence.open() {
		return errNotLeading
	}
	return p.statusPatcher.PatchStatus(ctx, namespace, name, kind, body)
}
