// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// fakeHandover is ready when the test says so, and counts what it is told.
type fakeHandover struct {
	said  atomic.Int32
	ready chan lb.NodeName
}

func (h *fakeHandover) SayReady()                 { h.said.Add(1) }
func (h *fakeHandover) Ready() <-chan lb.NodeName { return h.ready }

// withHandover is a speaker on node a, which has the address, and a node b to hand it to.
func withHandover(t *testing.T, f func(s *speaker, h *fakeHandover, give, takeBack func())) {
	t.Helper()
	h := new(fakeHandover)
	inBubble(t, func(s *speaker) {
		s.members.set("a", "b")
		now := node("b")
		s.inventory.OnNode(nil, now)
		add(s.inventory, "web", "192.0.2.1")
		only := func(name string) {
			ad := advertisement()
			ad.Generation = time.Now().UnixNano()
			ad.Spec.NodeSelectors = selecting(name)
			s.inventory.OnL2Advertisement(nil, ad)
		}
		only("a")
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		f(s, h, func() { only("b") }, func() { only("a") })
	}, func(c *Config) {
		h.ready = make(chan lb.NodeName) // of the bubble
		c.Handover = h
	})
}

// An address that goes to another node is answered for until that node is ready, and not
// when somebody else is.
func TestHandover(t *testing.T) {
	withHandover(t, func(s *speaker, h *fakeHandover, give, _ func()) {
		if h.said.Load() == 0 {
			t.Error("it did not say that it was ready")
		}
		give()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		s.expectAnnounced("192.0.2.1")
		h.ready <- "c"
		synctest.Wait()
		s.expectAnnounced("192.0.2.1")
		h.ready <- "b"
		synctest.Wait()
		s.expectAnnounced()
	})
}

func TestHandoverEnds(t *testing.T) {
	withHandover(t, func(s *speaker, _ *fakeHandover, give, takeBack func()) {
		give()
		time.Sleep(longestHandover - time.Millisecond)
		s.expectAnnounced("192.0.2.1")
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		s.expectAnnounced()
		// One that comes back on its way is announced anew, and stays.
		takeBack()
		s.quiesce()
		give()
		time.Sleep(longestHandover / 2)
		takeBack()
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
	})
}

// What nobody else is to have is given up at once.
func TestNoHandoverToNobody(t *testing.T) {
	withHandover(t, func(s *speaker, _ *fakeHandover, _, _ func()) {
		s.inventory.OnEndpointSlice(slice("web", "a"), nil)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		s.expectAnnounced()
	})
}

// A speaker that ends waits for its heir, and for a second at most.
func TestDepart(t *testing.T) {
	withHandover(t, func(s *speaker, h *fakeHandover, _, _ func()) {
		ad := advertisement()
		ad.Generation = time.Now().UnixNano()
		s.inventory.OnL2Advertisement(nil, ad)
		s.inventory.OnService(nil, service("web", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"))
		s.quiesce()
		if len(s.layer2.addresses()) == 0 {
			t.Skip("all addresses are the other node's")
		}
		took := func(answer bool) time.Duration {
			wait := s.Depart()
			begin := time.Now()
			if answer {
				time.AfterFunc(100*time.Millisecond, func() { h.ready <- "b" })
			}
			wait()
			return time.Since(begin)
		}
		if d := took(true); d != 100*time.Millisecond {
			t.Errorf("waited %s for an heir that is ready after 100 ms", d)
		}
		if d := took(false); d != longestHandover {
			t.Errorf("waited %s for an heir that never is", d)
		}
	})
}

// What a node would leave to this one is found, as this one would announce it; what is
// this one's already is not.
func TestInheritance(t *testing.T) {
	withHandover(t, func(s *speaker, _ *fakeHandover, give, _ func()) {
		find := func(from lb.NodeName) int {
			found, ok := s.Inheritance(context.Background(), from)
			if !ok {
				t.Error("the loop did not answer")
			}
			return len(found)
		}
		if n := find("b"); n != 0 {
			t.Errorf("%d addresses of b, which has none", n)
		}
		ad := advertisement()
		ad.Generation = time.Now().UnixNano()
		s.inventory.OnL2Advertisement(nil, ad)
		s.inventory.OnService(nil, service("other", "192.0.2.5"))
		for _, a := range []string{"192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "192.0.2.15", "192.0.2.16", "192.0.2.17", "192.0.2.18"} {
			add(s.inventory, "web-"+a, a)
		}
		s.quiesce()
		if n := find("b"); n != sample {
			t.Errorf("%d addresses of b would be a's, want %d of them", n, sample)
		}
		if n := find("nobody"); n != 0 {
			t.Errorf("%d addresses of a node that is not there", n)
		}
		give()
	})
}

// selecting selects a node by its name.
func selecting(name string) []v1beta1.LabelSelector {
	return []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"name": v1beta1.LabelValue(name)}}}
}
