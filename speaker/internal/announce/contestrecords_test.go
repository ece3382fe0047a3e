// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

// fakeReservations is an API server with AddressReservations and their informer, which
// shows what has happened at once.
type fakeReservations struct {
	t *testing.T

	mu      sync.Mutex // guards what follows
	stored  map[string]*v1alpha1.AddressReservation
	shows   func(old, now *v1alpha1.AddressReservation)
	creates int
	patches int
	broken  bool
	uids    int
}

func newFakeReservations(t *testing.T) *fakeReservations {
	return &fakeReservations{t: t, stored: make(map[string]*v1alpha1.AddressReservation)}
}

var errBroken = apierrors.NewInternalError(context.DeadlineExceeded)

func (f *fakeReservations) Create(_ context.Context, _ string, o *v1alpha1.AddressReservation) (*v1alpha1.AddressReservation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.creates++
	if f.broken {
		return nil, errBroken
	}
	if f.stored[o.Name] != nil {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{}, o.Name)
	}
	f.uids++
	o = o.DeepCopy()
	o.UID, o.CreationTimestamp = types.UID(rune('0'+f.uids)), metav1.Now()
	f.stored[o.Name] = o
	go f.shows(nil, o)
	return o, nil
}

func (f *fakeReservations) Patch(_ context.Context, _, name string, _ types.PatchType, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.patches++
	if f.broken {
		return errBroken
	}
	old := f.stored[name]
	now := old.DeepCopy()
	if err := json.Unmarshal(body, now); err != nil {
		f.t.Errorf("patch %s: %v", body, err)
	}
	if now.UID != old.UID {
		f.t.Errorf("patch of %s for UID %s, which has %s", name, now.UID, old.UID)
	}
	f.stored[name] = now
	go f.shows(old, now)
	return nil
}

func (f *fakeReservations) Delete(_ context.Context, _, name string, uid types.UID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return errBroken
	}
	if old := f.stored[name]; old != nil && old.UID == uid {
		delete(f.stored, name)
		go f.shows(old, nil)
	}
	return nil
}

func (f *fakeReservations) breakDown(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

// get returns the reservation of that name, or nil.
func (f *fakeReservations) get(name string) *v1alpha1.AddressReservation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stored[name]
}

func (f *fakeReservations) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.stored)
}

// record has the contests of a speaker recorded until stop is called.
func (f *fakeReservations) record(s *speaker, c *Contests) (stop func()) {
	r := NewContestRecords(ContestRecordsConfig{
		Node: s.Node, Namespace: "system", API: f, Contests: c, Inventory: s.inventory, Log: slog.New(slog.DiscardHandler),
	})
	f.mu.Lock()
	f.shows = r.OnReservation
	for _, o := range f.stored {
		r.OnReservation(nil, o)
	}
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("records: %v", err)
		}
	}
}

const recordName = "contested-192.0.2.2"

// A contested address is recorded, also when the Service that has it goes, until the
// station is gone.
func TestContestIsRecorded(t *testing.T) {
	contested(t, Defend, func(s *speaker, c *Contests, lan *fakeLAN) {
		api := newFakeReservations(t)
		api.breakDown(true)
		stop := api.record(s, c)
		lan.set("192.0.2.2", squatter)
		add(s.inventory, "web", "192.0.2.2")
		time.Sleep(10 * time.Second)
		api.breakDown(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		o := api.get(recordName)
		if o == nil {
			t.Fatalf("nothing is recorded")
		}
		if o.Labels[v1alpha1.LabelContested] != "02-ff-00-00-00-00" || o.Labels[v1alpha1.LabelContestedOn] != "a" ||
			o.Spec.ServiceName != "contested.192.0.2.2" || strings.Join(o.Spec.Addresses, ",") != "192.0.2.2" || o.Spec.TTL.Duration != 10*time.Minute {
			t.Errorf("recorded: %+v", o)
		}

		s.remove("web", "192.0.2.2")
		time.Sleep(time.Hour)
		o = api.get(recordName)
		if o == nil || time.Until(o.CreationTimestamp.Add(o.Spec.TTL.Duration)) < 4*time.Minute {
			t.Fatalf("after an hour the record is %+v, want it extended", o)
		}
		if api.patches > 15 {
			t.Errorf("%d writes in an hour", api.patches)
		}

		stop() // the speaker is replaced by another one on this node
		defer api.record(s, c)()
		time.Sleep(10 * time.Minute)
		if o := api.get(recordName); o == nil || time.Until(o.CreationTimestamp.Add(o.Spec.TTL.Duration)) < 4*time.Minute {
			t.Fatalf("after a restart the record is %+v, want it extended", o)
		}
		lan.set("192.0.2.2", [6]byte{})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := api.count(); n != 0 {
			t.Errorf("%d records after the station has gone, want none", n)
		}
	})
}

// A contest that ends while the address is announced is struck at once.
func TestContestEndsInTheRecord(t *testing.T) {
	contested(t, Yield, func(s *speaker, c *Contests, lan *fakeLAN) {
		api := newFakeReservations(t)
		defer api.record(s, c)()
		lan.set("192.0.2.1", squatter)
		c.Hear(layer2.Claim{Address: netip.MustParseAddr("192.0.2.1"), Interface: "eth0", MAC: squatter})
		time.Sleep(15 * time.Minute)
		if api.get("contested-192.0.2.1") == nil {
			t.Fatal("nothing is recorded")
		}
		lan.set("192.0.2.1", [6]byte{})
		time.Sleep(time.Minute)
		s.quiesce()
		s.expectAnnounced("192.0.2.1")
		if n := api.count(); n != 0 {
			t.Errorf("%d records after the station has gone, want none", n)
		}
	})
}

// What another node's speaker has recorded is its own to look after.
func TestRecordOfAnotherNode(t *testing.T) {
	contested(t, Defend, func(s *speaker, c *Contests, _ *fakeLAN) {
		api := newFakeReservations(t)
		api.stored[recordName] = &v1alpha1.AddressReservation{
			ObjectMeta: metav1.ObjectMeta{
				Name: recordName, UID: "x", CreationTimestamp: metav1.Now(),
				Labels: map[string]string{v1alpha1.LabelContested: "02-ff-00-00-00-00", v1alpha1.LabelContestedOn: "b"},
			},
			Spec: v1alpha1.AddressReservationSpec{Addresses: []string{"192.0.2.2"}, TTL: &metav1.Duration{Duration: 10 * time.Minute}},
		}
		defer api.record(s, c)()
		time.Sleep(time.Hour)
		if api.count() != 1 || api.patches != 0 {
			t.Errorf("%d records, %d patches; want it left alone", api.count(), api.patches)
		}
	})
}

// remove takes a Service away.
func (s *speaker) remove(name string, addresses ...string) {
	gone := service(name, addresses...)
	s.inventory.OnService(gone, nil)
	s.inventory.OnEndpointSlice(slice(name, "a"), nil)
}
