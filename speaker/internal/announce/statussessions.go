// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"

	"k8s.io/client-go/util/flowcontrol"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// A session that comes or goes concerns all Services at once, on all nodes at once. Their
// statuses follow at revisionRate, in objects per second, after the first revisionBurst.
const (
	revisionRate  = 20
	revisionBurst = 20
)

// Diagnose says which sessions are not as they should be, by peer. It replaces what was
// said before; until the first time nothing is known, and objects of an earlier life of
// this pod say what they said.
func (s *Statuses) Diagnose(amiss map[string]v1beta1.BGPSessionStatus) {
	s.mu.Lock()
	s.sessions, s.sessionsKnown = amiss, true
	s.mu.Unlock()
	ring(s.amiss)
}

// want returns what is to be reported of a Service under these items. The caller holds the
// lock, as in what follows.
func (s *Statuses) want(items []string) wantedStatus {
	w := wantedStatus{content: content{items: items}, told: s.sessionsKnown}
	for _, peer := range items {
		if session, ok := s.sessions[peer]; ok {
			w.sessions = append(w.sessions, session)
		}
	}
	return w
}

// revise makes statuses follow sessions until ctx ends. Each Service is brought to what is
// known when its turn comes, so that sessions that come and go cost no more than that.
func (s *Statuses) revise(ctx context.Context) {
	budget := flowcontrol.NewTokenBucketRateLimiter(revisionRate, revisionBurst)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.amiss:
		}
		for _, service := range s.announced() {
			if s.reviseOne(service) && budget.Wait(ctx) != nil {
				return
			}
		}
	}
}

// announced returns the Services that are reported.
func (s *Statuses) announced() []lb.ServiceName {
	s.mu.Lock()
	defer s.mu.Unlock()
	services := make([]lb.ServiceName, 0, len(s.wanted))
	for service := range s.wanted {
		services = append(services, service)
	}
	return services
}

// reviseOne has the status of a Service say what is known of sessions, and returns whether
// that takes a write.
func (s *Statuses) reviseOne(service lb.ServiceName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.wanted[service]
	if !ok {
		return false
	}
	s.wanted[service] = s.want(w.items)
	if !s.draftOf(service).correct {
		return false
	}
	s.enqueue(service, 0)
	return true
}
