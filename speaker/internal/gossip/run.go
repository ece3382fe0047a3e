// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/internal/lb"
)

// leaveTimeout bounds the farewell. Others have heard it after about 100 ms.
const leaveTimeout = time.Second

// Run takes part until ctx ends. Then it says farewell first, so that others take
// over at once instead of waiting for a death, and returns: whoever announces
// something should stop after Run has returned.
//
// An error means that the secret cannot be read or the port not be bound; a secret
// that is not there yet is waited for.
func (m *Members) Run(ctx context.Context) error {
	keys, err := m.awaitKeys(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	list, err := m.create(keys)
	if err != nil {
		return err
	}
	m.list.Store(list)

	var group errgroup.Group
	group.Go(func() error { m.join(ctx, list); return nil })
	group.Go(func() error { m.settle(ctx); return nil })
	group.Go(func() error { m.seek(ctx, list); return nil })
	group.Go(func() error { keys.rotate(ctx); return nil })
	<-ctx.Done()

	m.log.Info("leaving gossip")
	wait := func() {}
	if m.config.Leaving != nil {
		wait = m.config.Leaving.Depart()
	}
	m.takeLeave()
	if err := list.Leave(leaveTimeout); err != nil {
		m.log.Warn("farewell not heard, others must notice by themselves", lb.LogKeyError, err)
	}
	wait()
	if err := list.Shutdown(); err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return group.Wait()
}

func (m *Members) create(keys *keys) (*memberlist.Memberlist, error) {
	c := m.timings.configure()
	c.Name = string(m.config.Node)
	c.Label = Label
	c.BindAddr, c.BindPort = m.config.Bind.String(), int(m.config.Port)
	c.AdvertisePort = c.BindPort
	c.Events, c.Merge, c.Delegate = m, m, messages{m}
	if m.config.Facts != nil {
		c.Ping = probes{m}
	}
	c.Logger = newLogger(m.log, time.Now)
	if keys != nil {
		c.Keyring = keys.ring
	}
	if m.config.transport != nil {
		c.Transport = m.config.transport
	}
	list, err := memberlist.Create(c)
	if err != nil {
		return nil, fmt.Errorf("listen for gossip on %s port %d: %w", m.config.Bind, m.config.Port, err)
	}
	return list, nil
}

// settle closes m.settled when membership can be believed, and returns.
func (m *Members) settle(ctx context.Context) {
	quiet := time.NewTimer(m.timings.settleQuiet)
	defer quiet.Stop()
	var alone <-chan time.Time // runs from when the peers are known
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.moved:
			known, complete := m.progress()
			if complete && m.informed() {
				m.declareSettled("every node is a member")
				return
			}
			if known && alone == nil {
				timer := time.NewTimer(m.timings.settleMax)
				defer timer.Stop()
				alone = timer.C
			}
			quiet.Reset(m.timings.settleQuiet)
		case <-quiet.C:
			if m.hasMet() && m.informed() {
				m.declareSettled("no more members appear")
				return
			}
			quiet.Reset(m.timings.settleQuiet)
		case <-alone:
			m.declareSettled("nobody else can be reached")
			return
		}
	}
}

// progress reports whether the peers are known, and whether all of them are alive.
func (m *Members) progress() (known, complete bool) {
	missing := len(m.missing())
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peers != nil, m.peers != nil && missing == 0
}

func (m *Members) hasMet() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.met
}

func (m *Members) declareSettled(reason string) {
	m.log.Info("membership settled", lb.LogKeyReason, reason, lb.LogKeyCount, len(m.Alive()))
	close(m.settled)
	ring(m.changed)
}
