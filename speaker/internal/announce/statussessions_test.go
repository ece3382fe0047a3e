// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bgp"
)

// sessions lists what objects say of sessions, in words, and how many patches it took since
// the last call.
func (f *fakeBGPStatusAPI) sessions() (lines []string, patches int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines = []string{}
	for _, o := range f.objects {
		for _, s := range o.Status.Sessions {
			words := []string{o.Status.ServiceName, s.Peer, s.State, s.BFD, s.Message, s.LastNotification}
			lines = append(lines, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
		}
	}
	patches, f.patches = f.patches, 0
	slices.Sort(lines)
	return lines, patches
}

// withBGPStatuses runs f with the statuses of node a, of the pod pod-of-a, that finds these
// objects.
func withBGPStatuses(t *testing.T, found []*v1beta1.ServiceBGPStatus, f func(s *Statuses, expect func(patches int, want ...string))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := &fakeBGPStatusAPI{objects: make(map[string]*v1beta1.ServiceBGPStatus)}
		s := NewBGPStatuses(StatusOwner{Node: "a", Namespace: "system", PodName: "speaker", PodUID: "pod-of-a"}, api, slog.New(slog.DiscardHandler))
		for _, o := range found {
			api.objects[o.Name] = o
			s.OnBGPStatus(nil, o)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = s.Run(ctx) })
		f(s, func(patches int, want ...string) {
			t.Helper()
			time.Sleep(Unhurried) // fake
			synctest.Wait()
			lines, n := api.sessions()
			if diff := cmp.Diff(append([]string{}, want...), lines); diff != "" || n != patches {
				t.Errorf("%d patches, want %d; sessions (-want +got):\n%s", n, patches, diff)
			}
		})
		cancel()
		group.Wait()
	})
}

func amissAt(peers ...string) map[string]v1beta1.BGPSessionStatus {
	all := make(map[string]v1beta1.BGPSessionStatus)
	for _, p := range peers {
		all[p] = v1beta1.BGPSessionStatus{Peer: p, State: v1beta1.BGPSessionDown}
	}
	return all
}

// A Service says what is amiss with its own peers, and nothing is written for the others.
func TestStatusFollowsSessions(t *testing.T) {
	withBGPStatuses(t, nil, func(s *Statuses, expect func(int, ...string)) {
		s.Complete()
		s.Announce(web, []string{"left", "right"})
		s.Announce(lb.ServiceName{Namespace: "default", Name: "db"}, []string{"right"})
		expect(2)
		s.Diagnose(nil)
		expect(0)
		s.Diagnose(amissAt("left"))
		expect(1, "web left Down")
		s.Diagnose(amissAt("left"))
		s.Diagnose(amissAt("left", "third"))
		expect(0, "web left Down")
		s.Announce(lb.ServiceName{Namespace: "default", Name: "new"}, []string{"left"})
		expect(1, "new left Down", "web left Down") // in the same write as the rest
		s.Announce(web, []string{"right"})
		expect(1, "new left Down")
		s.Diagnose(amissAt("right"))
		time.Sleep(time.Second) // fake
		expect(3, "db right Down", "web right Down")
		s.Diagnose(nil)
		time.Sleep(time.Second) // fake
		expect(2)
	})
}

// What concerns all Services is written at a pace, and sessions that come and go meanwhile
// cost no more.
func TestRevisionsArePaced(t *testing.T) {
	const services = 1000
	withBGPStatuses(t, nil, func(s *Statuses, _ func(int, ...string)) {
		api := s.api.(*fakeBGPStatusAPI)
		s.Complete()
		for i := range services {
			s.Announce(lb.ServiceName{Namespace: "default", Name: fmt.Sprint("s-", i)}, []string{"left"})
		}
		s.Diagnose(nil)
		time.Sleep(Unhurried) // fake
		synctest.Wait()
		api.sessions()
		limit := func(after time.Duration) int { return revisionBurst + int(after.Seconds()*revisionRate) + 1 }

		s.Diagnose(amissAt("left"))
		synctest.Wait()
		if _, n := api.sessions(); n > limit(0) {
			t.Errorf("%d writes at once", n)
		}
		time.Sleep(10 * time.Second) // fake
		for i := range 100 {         // a session that comes and goes
			s.Diagnose(amissAt([]string{"left"}[:i%2]...))
			time.Sleep(time.Second) // fake
		}
		synctest.Wait()
		if _, n := api.sessions(); n > limit(110*time.Second) {
			t.Errorf("%d writes in 110 s", n)
		}
		s.Diagnose(amissAt("left"))
		time.Sleep(2 * services / revisionRate * time.Second) // fake
		synctest.Wait()
		if lines, _ := api.sessions(); len(lines) != services {
			t.Errorf("%d of %d Services say that the session is down", len(lines), services)
		}
	})
}

// A speaker that starts again leaves what objects say of sessions until it knows better.
func TestSessionsFoundAtStart(t *testing.T) {
	found := func(service string) *v1beta1.ServiceBGPStatus {
		o := &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{
			Name: "bgp-" + service, UID: "uid", OwnerReferences: []metav1.OwnerReference{{UID: "pod-of-a"}},
			Labels: map[string]string{v1beta1.LabelNode: "a", v1beta1.LabelServiceName: service, v1beta1.LabelServiceNamespace: "default"},
		}}
		o.Status = v1beta1.MetalLBServiceBGPStatus{
			Node: "a", ServiceName: service, ServiceNamespace: "default", Peers: []string{"left", "right"},
			Sessions: []v1beta1.BGPSessionStatus{amissAt("left")["left"]},
		}
		return o
	}
	for _, tt := range []struct {
		name    string
		amiss   []string
		patches int
		want    []string
	}{
		{"as before", []string{"left"}, 0, []string{"web left Down"}},
		{"well", nil, 1, nil},
		{"another", []string{"right"}, 1, []string{"web right Down"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withBGPStatuses(t, []*v1beta1.ServiceBGPStatus{found("web")}, func(s *Statuses, expect func(int, ...string)) {
				s.Announce(web, []string{"left", "right"})
				s.Complete()
				time.Sleep(time.Minute) // fake
				expect(0, "web left Down")
				s.Diagnose(amissAt(tt.amiss...))
				expect(tt.patches, tt.want...)
			})
		})
	}
}

// From the router's session to the Service's status: what lasts arrives there, in words,
// and what does not costs nothing.
func TestSessionsInStatuses(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		source := &fakeSessions{changed: make(chan struct{}, 1)}
		be := func(left bgp.Session) {
			source.mu.Lock()
			source.sessions = map[bgp.PeerName]bgp.Session{"left": left, "right": {State: bgp.Established}}
			source.mu.Unlock()
			ring(source.changed)
		}
		sessions := NewSessions(SessionsConfig{
			Node: "a", Source: source, Guards: s.BGP.Guards, Inventory: s.inventory, Events: s.events, Diagnosed: s.BGP.Statuses,
		})
		ctx, cancel := context.WithCancel(s.t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = sessions.Run(ctx) })
		defer group.Wait()
		defer cancel()
		expect := func(after time.Duration, patches int, want ...string) {
			s.t.Helper()
			time.Sleep(after) // fake
			synctest.Wait()
			lines, n := s.bgpAPI.sessions()
			if diff := cmp.Diff(append([]string{}, want...), lines); diff != "" || n != patches {
				s.t.Errorf("%d patches, want %d; sessions (-want +got):\n%s", n, patches, diff)
			}
		}
		expect(time.Hour, 1) // there are no sessions; the patch made the object
		be(bgp.Session{State: bgp.Connect})
		expect(time.Second, 0)
		be(bgp.Session{State: bgp.Established})
		expect(time.Minute, 0)
		be(bgp.Session{State: bgp.Idle, LastNotification: bgp.Notification{Time: time.Now(), Received: true, Code: 6, Subcode: 2}})
		expect(settlingTime-time.Second, 0)
		be(bgp.Session{State: bgp.Established}) // a graceful restart
		expect(time.Minute, 0)
		be(bgp.Session{State: bgp.Idle, LastNotification: bgp.Notification{Time: time.Now(), Received: true, Code: 2, Subcode: 2}})
		expect(settlingTime-time.Second, 0)
		expect(2*time.Second, 1, "web left Down received OPEN Message Error, Bad Peer AS")
		expect(time.Hour, 0, "web left Down received OPEN Message Error, Bad Peer AS")
		be(bgp.Session{State: bgp.Established})
		expect(settlingTime+time.Second, 1)
		expect(time.Hour, 0)
	})
}
