// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// joinsAtOnce bounds the peers asked at the same time. One that answers tells us
	// of all others, so more would be wasted in the normal case; dead ones cost a
	// timeout each and should not hide a live one for long.
	joinsAtOnce = 5
	// firstRejoin is how long a peer that did not answer is left alone at first. It
	// doubles up to the profile's maximum.
	firstRejoin = 500 * time.Millisecond
)

// attempts remembers, for one peer, when it may be asked again.
type attempts struct {
	wait time.Duration
	next time.Time
}

// join asks missing peers, now and again, until ctx ends.
func (m *Members) join(ctx context.Context, list *memberlist.Memberlist) {
	tried := make(map[lb.NodeName]*attempts)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.joining:
		case <-timer.C:
		}
		missing := m.unmet()
		for name := range tried {
			if _, ok := missing[name]; !ok {
				delete(tried, name) // alive, or no node any more: start afresh next time
			}
		}
		due, wait := m.due(missing, tried, time.Now())
		m.ask(list, missing, due)
		if len(due) > 0 {
			wait = 0 // there may be more; the attempt took its time already
		}
		timer.Reset(wait)
	}
}

// seek asks the peers that Seek names, and exchanges facts with those that have come,
// until ctx ends.
func (m *Members) seek(ctx context.Context, list *memberlist.Memberlist) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-m.sought:
			if missing := m.missing(); missing[name].IsValid() {
				m.ask(list, missing, []lb.NodeName{name})
			}
		case name := <-m.greeted:
			if known := m.knownPeers(); known[name].IsValid() {
				m.ask(list, known, []lb.NodeName{name})
			}
		}
	}
}

// knownPeers returns where all peers are asked.
func (m *Members) knownPeers() map[lb.NodeName]netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.peers)
}

// due picks a few of the missing peers that may be asked now, those that have been
// tried least first, and puts them off for their next turn. Among equals chance
// decides, so that speakers that start together do not all ask the same one. Without
// any it returns how long to wait.
func (m *Members) due(missing map[lb.NodeName]netip.Addr, tried map[lb.NodeName]*attempts, now time.Time) ([]lb.NodeName, time.Duration) {
	var due []lb.NodeName
	wait := m.timings.rejoinMaximum
	for name := range missing {
		switch a := tried[name]; {
		case a == nil || !now.Before(a.next):
			due = append(due, name)
		default:
			wait = min(wait, a.next.Sub(now))
		}
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	slices.SortStableFunc(due, func(a, b lb.NodeName) int { return cmp.Compare(waited(tried[a]), waited(tried[b])) })
	due = due[:min(len(due), joinsAtOnce)]
	for _, name := range due {
		a := tried[name]
		if a == nil {
			a = &attempts{wait: firstRejoin / 2}
			tried[name] = a
		}
		a.wait = min(2*a.wait, m.timings.rejoinMaximum)
		// Half of the wait is random, lest all speakers ask in step.
		a.next = now.Add(a.wait/2 + rand.N(a.wait/2))
	}
	return due, wait
}

func waited(a *attempts) time.Duration {
	if a == nil {
		return 0
	}
	return a.wait
}

// ask contacts the peers, all at once, and waits for the answers. memberlist bounds
// each by its stream timeout.
func (m *Members) ask(list *memberlist.Memberlist, addresses map[lb.NodeName]netip.Addr, peers []lb.NodeName) {
	var group errgroup.Group
	for _, name := range peers {
		group.Go(func() error {
			target := net.JoinHostPort(addresses[name].String(), strconv.Itoa(int(m.config.Port)))
			if _, err := list.Join([]string{target}); err != nil {
				m.metrics.joinErrors.Inc()
				m.log.Debug("peer not reached", lb.LogKeyMember, name, lb.LogKeyIP, addresses[name], lb.LogKeyError, err)
			}
			return nil
		})
	}
	_ = group.Wait() // no task returns an error: being unreachable is normal
}
