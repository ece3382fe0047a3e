// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/lb"
)

// letter is what there is to be written about one Service.
type letter struct {
	uid        types.UID
	base, want state
	cause      string
	deprecated []string
	// sending reports that a patch is on its way, with the addresses in sent.
	sending bool
	sent    []netip.Addr
	// doubtful reports that a write failed and may have been carried out all the same,
	// so that the API server may have any of the addresses in sent as well.
	doubtful bool
	// written is when base was written. Zero: base was observed.
	written time.Time
	// glimpsed is what the informer has shown while a patch was on its way: it may
	// be faster than the answer. Nil: nothing.
	glimpsed *state
	// held is since when the letter waits for another Service to give up an address.
	held time.Time
	// last reports that the Service is gone, or no load balancer any more: want is
	// blank, and after it has been written there is nothing left to remember.
	last bool
}

// due reports whether there is something to be written.
func (l *letter) due() bool { return l.last || l.doubtful || !l.base.satisfies(l.want) }

// see takes notice of what the informer shows, unless that may be older than what
// was written.
func (l *letter) see(observed state) {
	switch {
	case l.sending:
		l.glimpsed = &observed
	case l.doubtful:
	case l.written.IsZero(), observed.satisfies(l.base), time.Since(l.written) > patience:
		l.base, l.written = observed, time.Time{}
	}
}

// accept takes notice of a write that has succeeded, and of the cause that it told. A
// cause that came while it was on its way is for the next one to tell.
func (l *letter) accept(written state, told string) {
	l.base, l.written = written, time.Now()
	if l.cause == told {
		l.cause = ""
	}
	if l.glimpsed != nil && l.glimpsed.satisfies(written) {
		l.written = time.Time{}
	}
	l.sending, l.doubtful, l.sent, l.glimpsed = false, false, nil, nil
	l.held, l.deprecated = time.Time{}, nil
}

// doubt takes notice of a write that has failed. Of few failures it is certain that
// nothing was written, so the next patch has everything in it.
func (l *letter) doubt() {
	l.sending, l.doubtful, l.glimpsed = false, true, nil
	l.base.untidy = true
}

// done reports whether there is nothing left to be written or seen.
func (l *letter) done() bool { return !l.due() && !l.sending && l.written.IsZero() }

// lingering returns the addresses that the API server may show for the Service though
// it shall not have them any more. Nobody else's status may show them before.
func (l *letter) lingering() []netip.Addr {
	if l.last {
		return nil // the Service is gone, or the API server has cleared its status
	}
	return without(slices.Concat(l.base.addresses, l.sent), l.want.addresses)
}

// quarters knows which addresses have not been left yet, and by which Services.
// The zero value is not usable.
type quarters map[netip.Addr]map[lb.ServiceName]struct{}

func (q quarters) enter(name lb.ServiceName, l *letter) {
	for _, a := range l.lingering() {
		if q[a] == nil {
			q[a] = map[lb.ServiceName]struct{}{}
		}
		q[a][name] = struct{}{}
	}
}

// leave forgets what l lingered in. Call it before l changes.
func (q quarters) leave(name lb.ServiceName, l *letter) {
	for _, a := range l.lingering() {
		delete(q[a], name)
		if len(q[a]) == 0 {
			delete(q, a)
		}
	}
}

// taken returns those of the addresses that a Service other than name has not left.
func (q quarters) taken(name lb.ServiceName, addresses []netip.Addr) []netip.Addr {
	var taken []netip.Addr
	for _, a := range addresses {
		_, own := q[a][name]
		if n := len(q[a]); n > 1 || n == 1 && !own {
			taken = append(taken, a)
		}
	}
	return taken
}
