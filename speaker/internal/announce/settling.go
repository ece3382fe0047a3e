// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"time"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// settlingTime is how long a session has to be as it is before statuses of Services say
// so: longer than a router takes to restart and a speaker to come back, because each time
// all Services would be written twice.
const settlingTime = 15 * time.Second

// settling tells what sessions are like once they have been like that for settlingTime.
// What changes more often is told as it was. It belongs to Sessions.
type settling struct {
	peers map[bgp.PeerName]*settlingPeer
	// begun is when there were sessions for the first time.
	begun time.Time
	// known means that it has been told since what there is to tell.
	known bool
}

// settlingPeer is a session as it is and as it was told. Fine is the zero value.
type settlingPeer struct {
	now, told v1beta1.BGPSessionStatus
	// notified is when there was a NOTIFICATION last.
	notified time.Time
	// since is when now began, and gradeSince when it became as grave as it is.
	since, gradeSince time.Time
}

// grade is how grave it is what is amiss with a session.
type grade int

const (
	fine grade = iota
	impaired
	down
)

func gradeOf(s v1beta1.BGPSessionStatus) grade {
	switch {
	case s == (v1beta1.BGPSessionStatus{}):
		return fine
	case s.State == v1beta1.BGPSessionEstablished:
		return impaired
	}
	return down
}

// diagnosis is what is amiss with a session, the zero value for nothing.
type diagnosis struct {
	v1beta1.BGPSessionStatus
	// notified is when there was a NOTIFICATION last.
	notified time.Time
}

// observe takes what is amiss with each peer there is. It
// returns whether there is something to tell, and after which time to look again, 0 for
// when something changes.
func (s *settling) observe(now time.Time, peers map[bgp.PeerName]diagnosis) (news bool, again time.Duration) {
	if s.begun.IsZero() && len(peers) > 0 {
		s.begun = now
	}
	for name := range s.peers {
		if _, ok := peers[name]; !ok {
			news = news || s.peers[name].told != (v1beta1.BGPSessionStatus{})
			delete(s.peers, name)
		}
	}
	for name, is := range peers {
		p, ok := s.peers[name]
		if !ok {
			p = &settlingPeer{since: now, gradeSince: now}
			s.peers[name] = p
		}
		p.observe(now, is)
		left := p.left(now)
		switch {
		case p.now == p.told:
		case left <= 0:
			p.told, news = p.now, true
		case again == 0 || left < again:
			again = left
		}
	}
	if s.begun.IsZero() || s.known {
		return news, again
	}
	if left := settlingTime - now.Sub(s.begun); left > 0 {
		return false, left
	}
	s.known = true
	return true, again
}

// observe takes what is amiss now.
func (p *settlingPeer) observe(now time.Time, d diagnosis) {
	is := d.BGPSessionStatus
	if is.Message == "" && gradeOf(is) == down && gradeOf(p.now) == down && d.notified.Equal(p.notified) {
		is.Message = p.now.Message // another attempt is on its way
	}
	p.notified = d.notified
	if is == p.now {
		return
	}
	p.since = now
	if gradeOf(is) != gradeOf(p.now) {
		p.gradeSince = now
	}
	p.now = is
}

// left is how much longer the session has to be as it is. Words may differ each time that
// a session fails; when it has failed for long enough, the latest are told.
func (p *settlingPeer) left(now time.Time) time.Duration {
	since := p.since
	if gradeOf(p.now) != gradeOf(p.told) {
		since = p.gradeSince
	}
	return settlingTime - now.Sub(since)
}

// amiss returns what is told of the sessions that are not fine, by peer.
func (s *settling) amiss() map[string]v1beta1.BGPSessionStatus {
	all := make(map[string]v1beta1.BGPSessionStatus)
	for name, p := range s.peers {
		if gradeOf(p.told) != fine {
			all[string(name)] = p.told
		}
	}
	return all
}
