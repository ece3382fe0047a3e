// SPDX-License-Identifier: Apache-2.0

package layer2

import "time"

const (
	// spinWindow is how long a reader waits awake for the next request. Requests
	// that come less often than that are not waited for.
	spinWindow = 100 * time.Microsecond
	// spinShare is the part of one core, in the long run, that waiting may take:
	// one in spinShare.
	spinShare = 4
	// spinCredit is how much of that may be saved up.
	spinCredit = 10 * time.Second
	// spinHiccup is a time between two looks at the socket that means that the
	// thread did not have its core all the while: somebody else needs it.
	spinHiccup = 50 * time.Microsecond
	// spinRest is for how long the core is left to others then, in times of what they have
	// just had of it, and spinRestMost at most: a timer of the kernel takes a tenth of a
	// millisecond and does not come back soon, a program that computes takes all it can get.
	spinRest     = 16
	spinRestMost = 50 * time.Millisecond
	// gapCap bounds the influence of a long pause: 20 requests in quick succession
	// outweigh it.
	gapCap = time.Millisecond
)

// spin decides whether a reader that has run out of requests waits awake for the
// next one. A core with nothing to do stops, and to start it again for a request
// costs several times what the answer does; that is what a client sees that asks
// for one address after the other, like a router that has just lost its cache. A
// speaker is but a guest on its node: it waits awake only amid a run of requests for
// its own addresses, on one interface at a time, yields to every other goroutine,
// rests when other processes want the core, and does not at all where there is
// only one.
//
// What that gains depends on the machine, and on whether the client's core stops
// too, which no server can help: make bench ONLY=arp measures it beside the kernel's
// own answers. With many requests outstanding the reader never runs out of them, and
// when other processes keep all cores busy none ever stops: hence the rest.
//
// It knows no clock: times are monotonic, from when reading began, and passed in.
type spin struct {
	enabled bool
	last    time.Duration // when a request was answered last
	gap     time.Duration // smoothed time between answers
	credit  time.Duration
	earned  time.Duration // until when credit has been earned
	rest    time.Duration // until when not to wait
}

// newSpin returns the state of a reader that has not yet answered anything, in a
// process that may use the given number of cores.
func newSpin(cores int) spin {
	return spin{enabled: cores > 1, gap: gapCap, credit: spinCredit}
}

// answered notes an answer at the given time.
func (s *spin) answered(now time.Duration) {
	sample := min(now-s.last, gapCap)
	s.last = now
	s.gap += (sample - s.gap) / 8
}

// patience is how long to wait awake from now on; 0 means not at all.
func (s *spin) patience(now time.Duration) time.Duration {
	if !s.enabled || now < s.rest || s.gap >= spinWindow || now-s.last >= spinWindow {
		return 0
	}
	s.credit = min(spinCredit, s.credit+(now-s.earned)/spinShare)
	s.earned = now
	if s.credit <= 0 {
		return 0
	}
	return spinWindow
}

// looked notes two looks at the socket in succession, and says whether to go on.
func (s *spin) looked(before, now time.Duration) bool {
	if now-before < spinHiccup {
		return true
	}
	s.rest = now + min(spinRest*(now-before), spinRestMost)
	return false
}

// spent notes time that was waited awake.
func (s *spin) spent(d time.Duration) { s.credit -= d }
