// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/contest"
	"github.com/herald-lb/herald/speaker/internal/layer2"
)

const (
	// recordPace is how often records are looked at when nothing has changed.
	recordPace = 5 * time.Second
	// recordTime bounds a write.
	recordTime = 10 * time.Second
)

// ReservationAPI is what ContestRecords need of the API server. kube.Resource is one.
type ReservationAPI interface {
	Create(ctx context.Context, namespace string, obj *v1alpha1.AddressReservation) (*v1alpha1.AddressReservation, error)
	Patch(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
	// Delete succeeds if the object is gone, or another one has its name.
	Delete(ctx context.Context, namespace, name string, uid types.UID) error
}

// ContestRecords keep an AddressReservation of each contested address, so that the
// controller gives it to no Service that does not ask for it by name, also when the one
// that has it is gone. All methods are safe for concurrent use.
type ContestRecords struct {
	ContestRecordsConfig
	bell chan struct{}

	mu      sync.Mutex // guards what follows
	ledger  *contest.Ledger
	objects map[netip.Addr]recordObject
}

// recordObject is a reservation as it is at the API server.
type recordObject struct {
	name string
	uid  types.UID
}

// ContestRecordsConfig says what ContestRecords work with. All fields are needed.
type ContestRecordsConfig struct {
	Node lb.NodeName
	// Namespace is where the records are.
	Namespace string
	API       ReservationAPI
	Contests  *Contests
	Inventory *Inventory
	Log       *slog.Logger
}

// NewContestRecords returns records that nobody writes yet, and has the contests tell them.
func NewContestRecords(c ContestRecordsConfig) *ContestRecords {
	r := &ContestRecords{
		ContestRecordsConfig: c,
		bell:                 make(chan struct{}, 1),
		ledger:               contest.NewLedger(labelValue(string(c.Node))),
		objects:              make(map[netip.Addr]recordObject),
	}
	c.Contests.Told = r.told
	return r
}

// ContestRecordsSelector matches the reservations that are records.
const ContestRecordsSelector = v1alpha1.LabelContested

// told takes note of a contest that has begun or ended.
func (r *ContestRecords) told(a netip.Addr, change contest.Change) {
	if change == contest.Ended {
		r.mu.Lock()
		r.ledger.End(a)
		r.mu.Unlock()
	}
	ring(r.bell)
}

// OnReservation takes note of a record. It is a callback for an informer.
func (r *ContestRecords) OnReservation(old, now *v1alpha1.AddressReservation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old != nil {
		parsed, _ := lb.ParseReservation(old)
		for _, a := range parsed.Addresses {
			if r.objects[a].uid == old.UID {
				r.ledger.Strike(a)
				delete(r.objects, a)
			}
		}
	}
	if now != nil {
		r.enter(now)
	}
}

// enter takes an object into the ledger. The caller holds the lock.
func (r *ContestRecords) enter(o *v1alpha1.AddressReservation) {
	parsed, _ := lb.ParseReservation(o) // its problems are for the controller to report
	e := contest.Entry{
		By: parsed.ContestedBy, Keeper: o.Labels[v1alpha1.LabelContestedOn], Created: parsed.Created, Lasts: parsed.TTL,
	}
	for _, a := range parsed.Addresses {
		r.ledger.Enter(a, e)
		r.objects[a] = recordObject{o.Name, o.UID}
	}
}

// Run keeps the records until ctx ends, and then returns nil. They stay: what they say is
// true until they expire.
func (r *ContestRecords) Run(ctx context.Context) error {
	timer := time.NewTimer(recordPace)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.bell:
		case <-timer.C:
		}
		r.pass(ctx)
		timer.Reset(recordPace)
	}
}

func (r *ContestRecords) pass(ctx context.Context) {
	contested := r.Contests.all()
	r.mu.Lock()
	tasks := r.ledger.Tasks(contested, r.Inventory.holds, time.Now())
	r.mu.Unlock()
	var asked []layer2.Announcement
	for _, t := range tasks {
		if ctx.Err() != nil || r.Contests.hasLeft() {
			return
		}
		if t.Step == contest.Probe {
			asked = append(asked, layer2.Announcement{Address: t.Address})
		} else {
			r.perform(ctx, t)
		}
	}
	if len(asked) > 0 {
		r.probe(ctx, asked)
	}
}

// probe asks for addresses that nobody announces.
func (r *ContestRecords) probe(ctx context.Context, asked []layer2.Announcement) {
	found := r.Contests.LAN.Who(ctx, asked)
	if ctx.Err() != nil {
		return
	}
	for _, n := range asked {
		r.mu.Lock()
		var t contest.Task
		var more bool
		if claim, ok := found[n.Address]; ok {
			t, more = r.ledger.Find(n.Address, contest.Station{MAC: claim.MAC, Interface: claim.Interface}, time.Now())
		} else {
			t, more = r.ledger.Miss(n.Address)
		}
		r.mu.Unlock()
		if more {
			r.perform(ctx, t)
		}
	}
}

// perform does a task. What fails is done again in the next pass.
func (r *ContestRecords) perform(ctx context.Context, t contest.Task) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	r.mu.Lock()
	o := r.objects[t.Address]
	r.mu.Unlock()
	var err error
	switch t.Step {
	case contest.Record:
		err = r.create(ctx, t)
	case contest.Extend:
		err = r.API.Patch(ctx, r.Namespace, o.name, types.MergePatchType, r.extension(t, o.uid))
	case contest.Erase:
		r.Log.Info("an address is free for Services again", lb.LogKeyIP, t.Address)
		err = r.API.Delete(ctx, r.Namespace, o.name, o.uid)
	case contest.Omit:
		r.Log.Warn("a station has many addresses, as a proxy does: from this one on none is kept from Services", lb.LogKeyIP, t.Address, "mac", t.By)
	case contest.Probe:
	}
	if err != nil && !kube.IsGone(err) {
		r.Log.Warn("record of a contested address is not written, trying again", lb.LogKeyIP, t.Address, lb.LogKeyError, err)
	}
}

func (r *ContestRecords) create(ctx context.Context, t contest.Task) error {
	name := strings.ReplaceAll(t.Address.StringExpanded(), ":", "-")
	created, err := r.API.Create(ctx, r.Namespace, &v1alpha1.AddressReservation{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AddressReservation"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: "contested-" + name,
			Labels: map[string]string{v1alpha1.LabelContested: dashed(t.By), v1alpha1.LabelContestedOn: labelValue(string(r.Node))},
		},
		Spec: v1alpha1.AddressReservationSpec{
			ServiceName: "contested." + name, // no Service can have a dot in its name
			Addresses:   []string{t.Address.String()}, TTL: &metav1.Duration{Duration: t.Lasts},
		},
	})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil // another speaker's, and the informer will show it
	case err != nil:
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, shown := r.objects[t.Address]; !shown {
		r.enter(created)
	}
	return nil
}

func dashed(mac string) string { return strings.ReplaceAll(mac, ":", "-") }

// extension returns the merge patch that has a record last longer. The UID makes the API
// server refuse it for another object of that name.
func (r *ContestRecords) extension(t contest.Task, uid types.UID) []byte {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid, "labels": map[string]string{
			v1alpha1.LabelContested: dashed(t.By), v1alpha1.LabelContestedOn: labelValue(string(r.Node)),
		}},
		"spec": map[string]any{"ttl": t.Lasts.String()},
	})
	if err != nil {
		panic(fmt.Sprintf("announce: marshal the record of %s: %v", t.Address, err))
	}
	return body
}
