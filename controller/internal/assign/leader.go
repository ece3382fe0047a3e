// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/herald-lb/herald/internal/lb"
)

// Timing of the Lease. A leader that cannot renew stops to write renewDeadline after
// its last renewal, which is leaseDuration-renewDeadline before anybody else can lead.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// leases is access to Leases.
type leases interface {
	Get(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error)
}

// candidate leads for as long as it holds the Lease.
type candidate struct {
	lock   resourcelock.Interface
	leases leases
	// lease names the Lease of lock.
	lease types.NamespacedName
	log   *slog.Logger
	// before is what the Lease said before the informers began. Nil: not known.
	before *tenure
	// term does the leader's work until its context ends. It must return soon then.
	// fresh reports that the informers show all that any other leader has written.
	term func(ctx context.Context, fresh bool) error
}

// tenure is who leads, and how often that has changed.
type tenure struct {
	holder      string
	transitions int32
}

// look returns what the Lease says, or nil if that cannot be found out.
func (c *candidate) look(ctx context.Context) *tenure {
	l, err := c.leases.Get(ctx, c.lease.Namespace, c.lease.Name)
	switch {
	case apierrors.IsNotFound(err):
		return &tenure{transitions: -1} // whoever makes it begins with 0
	case err != nil:
		return nil
	}
	t := &tenure{}
	if l.Spec.HolderIdentity != nil {
		t.holder = *l.Spec.HolderIdentity
	}
	if l.Spec.LeaseTransitions != nil {
		t.transitions = *l.Spec.LeaseTransitions
	}
	return t
}

// alone reports whether nobody else has led since before: the informers, which began
// after that, then lack no write of another leader.
func (c *candidate) alone(now *tenure) bool {
	b := c.before
	switch {
	case b == nil || now == nil || now.holder != c.lock.Identity():
		return false
	case b.holder == c.lock.Identity():
		return now.transitions == b.transitions
	}
	return b.holder == "" && now.transitions == b.transitions+1
}

// run stands for election until ctx ends, again and again: a term that ends because
// the Lease could not be renewed leaves nothing behind that the next could trip over.
//
// The Lease is given back when ctx ends, and not before the term has ended: nobody
// leads while writes of this replica may still be on their way.
func (c *candidate) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := c.stand(ctx); err != nil {
			return err
		}
		c.before = nil
	}
	return nil
}

// stand waits for the Lease, leads, and returns when the Lease is lost or given back.
func (c *candidate) stand(ctx context.Context) error {
	// The elector's context outlives ctx until the term has ended.
	electing, giveBack := context.WithCancel(context.WithoutCancel(ctx))
	defer giveBack()
	ended := make(chan error, 1)
	began := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            c.lock,
		LeaseDuration:   leaseDuration,
		RenewDeadline:   renewDeadline,
		RetryPeriod:     retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				close(began)
				ended <- c.lead(ctx, leading)
				giveBack()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("prepare leader election: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-began: // lead gives the Lease back
		default:
			giveBack()
		}
	})
	defer stop()
	elector.Run(electing)
	select {
	case <-began:
		return <-ended
	default:
		return nil
	}
}

// lead does the leader's work until the process shall end or the Lease is lost.
func (c *candidate) lead(ctx, leading context.Context) error {
	c.log.Info("leading", lb.LogKeyMember, c.lock.Identity())
	term, end := context.WithCancel(leading)
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	err := c.term(term, c.alone(c.look(term)))
	if ctx.Err() == nil && leading.Err() != nil {
		c.log.Warn("lost the Lease, standing for election again", lb.LogKeyMember, c.lock.Identity())
	}
	return err
}
