// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

var web = lb.ServiceName{Namespace: "default", Name: "web"}

// withStatuses runs f with the statuses of node a, of the pod pod-of-a.
func withStatuses(t *testing.T, prepare func(*fakeStatusAPI), f func(s *Statuses, api *fakeStatusAPI)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := newFakeStatusAPI()
		prepare(api)
		s := NewStatuses(StatusOwner{Node: "a", Namespace: "system", PodName: "speaker", PodUID: "pod-of-a"}, api, slog.New(slog.DiscardHandler))
		unwatch := api.watch(s)
		time.Sleep(time.Minute) // the informer has synced
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = s.Run(ctx) })
		f(s, api)
		cancel()
		unwatch()
		group.Wait()
	})
}

func nothing(*fakeStatusAPI) {}

func quiesce() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func expectStatuses(t *testing.T, api *fakeStatusAPI, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, api.statuses()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func expectRequests(t *testing.T, api *fakeStatusAPI, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, api.takeRequests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestStatusFollowsAnnouncement(t *testing.T) {
	withStatuses(t, nothing, func(s *Statuses, api *fakeStatusAPI) {
		s.Complete()
		s.Announce(web, nil)
		s.Announce(web, nil)
		quiesce()
		expectStatuses(t, api, "web a")
		expectRequests(t, api, "create", "patch")

		s.Announce(web, []string{"eth0", "eth1"})
		quiesce()
		expectStatuses(t, api, "web a eth0 eth1")
		expectRequests(t, api, "patch")

		s.Announce(web, nil)
		quiesce()
		expectStatuses(t, api, "web a")
		expectRequests(t, api, "patch")

		s.Withdraw(web)
		s.Withdraw(web)
		quiesce()
		expectStatuses(t, api)
		expectRequests(t, api, "delete")
	})
}

// An address that moves to and fro is not worth a write, and none is made while clients
// may still be waiting.
func TestStatusesAreUnhurried(t *testing.T) {
	withStatuses(t, nothing, func(s *Statuses, api *fakeStatusAPI) {
		s.Complete()
		synctest.Wait() // until it runs
		s.Announce(web, nil)
		time.Sleep(Unhurried - time.Millisecond)
		synctest.Wait()
		expectRequests(t, api)
		s.Withdraw(web)
		quiesce()
		expectRequests(t, api)
	})
}

// A change that is taken back before it is written costs nothing.
func TestOnlyTheLatestIsWritten(t *testing.T) {
	withStatuses(t, nothing, func(s *Statuses, api *fakeStatusAPI) {
		s.Complete()
		api.mu.Lock() // the first write takes as long as all the changes
		for range 100 {
			s.Announce(web, []string{"eth0"})
			s.Withdraw(web)
		}
		api.mu.Unlock()
		quiesce()
		expectStatuses(t, api)
		if n := len(api.takeRequests()); n > 3 { // create, patch, delete
			t.Errorf("%d requests for a hundred changes that lead nowhere", n)
		}
	})
}

func TestWritesAreTriedAgain(t *testing.T) {
	withStatuses(t, nothing, func(s *Statuses, api *fakeStatusAPI) {
		s.Complete()
		for _, failing := range []int{1, 5} { // at once, and after the object was created
			api.mu.Lock()
			api.failing = failing
			api.mu.Unlock()
			s.Announce(web, nil)
			quiesce()
			expectStatuses(t, api, "web a")
			s.Withdraw(web)
			quiesce()
			expectStatuses(t, api)
		}
		if s.errorCount() != 6 {
			t.Errorf("%d errors counted, want 6", s.errorCount())
		}
	})
}

// Somebody deletes or changes an object of ours.
func TestDriftIsRepaired(t *testing.T) {
	withStatuses(t, nothing, func(s *Statuses, api *fakeStatusAPI) {
		s.Complete()
		s.Announce(web, []string{"eth0"})
		quiesce()
		api.takeRequests()
		api.remove("web")
		quiesce()
		expectStatuses(t, api, "web a eth0")
		expectRequests(t, api, "create", "patch")

		// It is gone, and the news has not arrived when we write to it.
		api.remove("web")
		s.Announce(web, []string{"eth1"})
		quiesce()
		expectStatuses(t, api, "web a eth1")
	})
}

// Objects of an earlier life of this pod are taken over; those of a pod that is gone
// are replaced, for they go with it; what is not wanted goes, but not before all that
// is wanted is known.
func TestObjectsFoundAtStart(t *testing.T) {
	found := func(api *fakeStatusAPI) {
		api.add("l2-ours", "a", "web", "pod-of-a")
		api.add("l2-twice", "a", "web", "pod-of-a")
		api.add("l2-orphan", "a", "orphan", "pod-of-a")
		api.add("l2-old", "a", "old", "pod-before")
		api.add("l2-other", "b", "other", "pod-of-b")
	}
	withStatuses(t, found, func(s *Statuses, api *fakeStatusAPI) {
		old := lb.ServiceName{Namespace: "default", Name: "old"}
		quiesce()
		expectRequests(t, api)
		for service, want := range map[lb.ServiceName]bool{web: true, old: false, {Namespace: "default", Name: "x"}: false} {
			if got := s.Present(service); got != want {
				t.Errorf("Present(%s) = %t", service, got)
			}
		}
		s.Announce(web, nil)
		s.Announce(old, nil)
		quiesce()
		expectStatuses(t, api, "old a", "orphan a", "other b", "web a")
		s.Complete()
		quiesce()
		expectStatuses(t, api, "old a", "other b", "web a")
		api.mu.Lock()
		defer api.mu.Unlock()
		if api.objects["l2-ours"] == nil || api.objects["l2-old"] != nil {
			t.Error("the wrong objects were kept")
		}
	})
}

func TestSweep(t *testing.T) {
	left := func(api *fakeStatusAPI) {
		api.add("l2-1", "b", "one", "pod-of-b")
		api.add("l2-2", "b", "two", "pod-of-b")
		api.add("l2-3", "c", "three", "pod-of-c")
		api.add("l2-4", "d", "four", "pod-of-d")
	}
	withStatuses(t, left, func(s *Statuses, api *fakeStatusAPI) {
		s.Sweep([]lb.NodeName{"b", "c"})
		time.Sleep(sweepDelay / 2)
		s.Sweep([]lb.NodeName{"b"}) // c is back
		expectRequests(t, api)
		time.Sleep(sweepDelay)
		synctest.Wait()
		expectStatuses(t, api, "four d", "three c")
		expectRequests(t, api, "list", "delete", "delete")

		s.Sweep([]lb.NodeName{"b"}) // still dead: done
		time.Sleep(time.Hour)
		expectRequests(t, api)

		api.mu.Lock()
		api.failing = 2
		api.mu.Unlock()
		s.Sweep([]lb.NodeName{"b", "c"})
		time.Sleep(sweepDelay + 2*sweepRetry + time.Second)
		synctest.Wait()
		expectStatuses(t, api, "four d")
		expectRequests(t, api, "list", "list", "list", "delete")
	})
}

func TestLabelValue(t *testing.T) {
	long := strings.Repeat("n", 253)
	for _, name := range []string{"node-1", long[:kube.MaxLabelValue]} {
		if got := labelValue(name); got != name {
			t.Errorf("labelValue(%q) = %q, want the name itself", name, got)
		}
	}
	if got := labelValue(long); len(got) != kube.MaxLabelValue || !strings.HasPrefix(got, "nnn") {
		t.Errorf("labelValue of a long name = %q", got)
	}
	if labelValue(long) == labelValue(long+"n") {
		t.Error("two long names have the same label")
	}
}

// Nothing is written before it is time, and all that was said until then is after it.
func TestStatusesWaitUntilAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, after := newFakeStatusAPI(), make(chan struct{})
		s := NewStatuses(StatusOwner{Node: "a", Namespace: "system"}, api, slog.New(slog.DiscardHandler))
		s.After = after
		defer api.watch(s)()
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = s.Run(ctx) })
		s.Announce(web, nil)
		s.Complete()
		quiesce()
		expectRequests(t, api)
		close(after)
		quiesce()
		expectStatuses(t, api, "web a")
		cancel()
		group.Wait()
	})
}
