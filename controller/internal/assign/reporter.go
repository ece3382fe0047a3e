// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// reportEvery is the least time between two looks at what is to be reported: so
// often a pool's counters are written while Services come and go.
const reportEvery = time.Second

// books are the counters at one moment.
type books struct {
	usages []ipam.Usage
	// services count Services by reason, gaps those with an address that no node can
	// announce, waiting those that lack something.
	services, gaps map[lb.Reason]int
	waiting        int
	// reservations count AddressReservations by their state.
	reservations map[v1alpha1.ReservationState]int
}

// reporter writes what the controller makes of the configuration into the status of
// its objects: whether each is accepted, and how much of a pool is in use.
type reporter struct {
	patchers map[string]statusPatcher // by kind
	metrics  *metrics
	log      *slog.Logger
	bell     chan struct{}
	// verdict is told what is wrong with pools. Nil: nobody is.
	verdict func([]lb.Problem)

	mu       sync.Mutex // guards what the decider hands over
	objects  lb.Objects
	problems []lb.Problem
	books    *books

	// reported is what the API server has. Only run touches it.
	reported map[lb.Object]report
}

// report is the part of an object's status that is ours.
type report struct {
	accepted metav1.Condition
	usage    ipam.Usage
}

func newReporter(patchers map[string]statusPatcher, m *metrics, log *slog.Logger) *reporter {
	return &reporter{patchers: patchers, metrics: m, log: log, bell: make(chan struct{}, 1), reported: map[lb.Object]report{}}
}

// configured takes the configuration and what is wrong with it.
func (r *reporter) configured(objects lb.Objects, problems []lb.Problem) {
	r.mu.Lock()
	r.objects, r.problems = objects, problems
	r.mu.Unlock()
	if r.verdict != nil {
		r.verdict(slices.DeleteFunc(slices.Clone(problems), func(p lb.Problem) bool { return p.Object.Kind != kindPool }))
	}
	r.ring()
}

// takingOver shows why Services have no address before there is anything to be written.
func (r *reporter) takingOver(reasons map[lb.Reason]int) {
	r.metrics.books.Store(&books{services: reasons, waiting: reasons[lb.ReasonTakingOver]})
}

// counted takes the counters.
func (r *reporter) counted(b books) {
	r.mu.Lock()
	r.books = &b
	r.mu.Unlock()
	r.metrics.books.Store(&b)
	r.ring()
}

func (r *reporter) ring() {
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, at most once in reportEvery.
func (r *reporter) run(ctx context.Context) error {
	pause := time.NewTimer(reportEvery)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.bell:
		}
		if !r.write(ctx) {
			r.ring()
		}
		pause.Reset(reportEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
	}
}

// write reports what has changed. It returns false if something is left.
func (r *reporter) write(ctx context.Context) (complete bool) {
	r.mu.Lock()
	objects, problems, counters := listed(r.objects), r.problems, r.books
	r.mu.Unlock()
	if counters == nil {
		return true // the takeover is not over, and rings when it is
	}
	usages := make(map[string]ipam.Usage, len(counters.usages))
	for _, u := range counters.usages {
		usages[u.Pool] = u
	}
	grouped := lb.ByObject(problems)
	complete = true
	present := make(map[lb.Object]struct{}, len(objects))
	for _, o := range objects {
		present[o.name] = struct{}{}
		u, counted := usages[o.name.Name]
		if o.status != nil && !counted {
			continue // a pool that ipam has not got yet
		}
		complete = r.writeObject(ctx, o, u, lb.VerdictOn(grouped[o.name])) && complete
	}
	maps.DeleteFunc(r.reported, func(name lb.Object, _ report) bool {
		_, ok := present[name]
		return !ok
	})
	return complete
}

func (r *reporter) writeObject(ctx context.Context, o configObject, u ipam.Usage, v lb.Verdict) bool {
	have, ok := r.reported[o.name]
	if !ok {
		have = o.found()
	}
	want := report{accepted: acceptedCondition(v, o.generation, have.accepted)}
	if o.status != nil {
		want.usage = u
	}
	if have == want {
		r.reported[o.name] = want
		return true
	}
	err := r.patchers[o.name.Kind].PatchStatus(ctx, o.name.Namespace, o.name.Name, types.MergePatchType, o.patch(want))
	if ctx.Err() != nil {
		return true
	}
	r.metrics.countUpdate(err)
	if err != nil && !apierrors.IsNotFound(err) {
		r.log.Warn("status not written, trying again", lb.LogKeyObject, o.name.String(), lb.LogKeyError, err)
		return false
	}
	r.reported[o.name] = want
	return true
}

// acceptedCondition returns the condition that says the verdict; old is the one that is there.
func acceptedCondition(v lb.Verdict, generation int64, old metav1.Condition) metav1.Condition {
	const longest = 32768 // of a condition's message, by the API's rules
	c := metav1.Condition{
		Type:               v1beta1.ConditionAccepted,
		Status:             metav1.ConditionTrue,
		Reason:             v.Reason.String(),
		Message:            v.Message[:min(len(v.Message), longest)],
		ObservedGeneration: generation,
		LastTransitionTime: old.LastTransitionTime,
	}
	if !v.Accepted {
		c.Status = metav1.ConditionFalse
	}
	if old.Status != c.Status {
		c.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	}
	return c
}

// configObject is a configuration object of any kind.
type configObject struct {
	name       lb.Object
	generation int64
	conditions []metav1.Condition
	// status is that of a pool. Nil: it is none.
	status *v1beta1.IPAddressPoolStatus
}

// found returns what the object says already.
func (o configObject) found() (r report) {
	for _, c := range o.conditions {
		if c.Type == v1beta1.ConditionAccepted {
			r.accepted = c
		}
	}
	if s := o.status; s != nil {
		r.usage = ipam.Usage{
			Pool:          o.name.Name,
			AssignedIPv4:  s.AssignedIPv4,
			AssignedIPv6:  s.AssignedIPv6,
			AvailableIPv4: s.AvailableIPv4,
			AvailableIPv6: s.AvailableIPv6,
			ReservedIPv4:  s.ReservedIPv4,
			ReservedIPv6:  s.ReservedIPv6,
		}
	}
	return r
}

// patch returns the merge patch of the status. Conditions of others stay.
func (o configObject) patch(want report) []byte {
	conditions := []metav1.Condition{want.accepted}
	for _, c := range o.conditions {
		if c.Type != v1beta1.ConditionAccepted {
			conditions = append(conditions, c)
		}
	}
	status := map[string]any{"conditions": conditions}
	if o.status != nil {
		status["assignedIPv4"], status["availableIPv4"] = want.usage.AssignedIPv4, want.usage.AvailableIPv4
		status["assignedIPv6"], status["availableIPv6"] = want.usage.AssignedIPv6, want.usage.AvailableIPv6
		status["reservedIPv4"], status["reservedIPv6"] = want.usage.ReservedIPv4, want.usage.ReservedIPv6
	}
	body, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		panic("assign: marshal the status of " + o.name.String() + ": " + err.Error())
	}
	return body
}

// listed returns all configuration objects in one list.
func listed(objects lb.Objects) []configObject {
	var all []configObject
	add := func(kind string, m metav1.Object, conditions []metav1.Condition, status *v1beta1.IPAddressPoolStatus) {
		name := lb.Object{Kind: kind, Namespace: m.GetNamespace(), Name: m.GetName()}
		all = append(all, configObject{name, m.GetGeneration(), conditions, status})
	}
	for _, o := range objects.Pools {
		add(kindPool, o, o.Status.Conditions, &o.Status)
	}
	for _, o := range objects.L2Advertisements {
		add(kindL2Advertisement, o, o.Status.Conditions, nil)
	}
	for _, o := range objects.BGPAdvertisements {
		add(kindBGPAdvertisement, o, o.Status.Conditions, nil)
	}
	for _, o := range objects.BGPPeers {
		add(kindBGPPeer, o, o.Status.Conditions, nil)
	}
	for _, o := range objects.BFDProfiles {
		add(kindBFDProfile, o, o.Status.Conditions, nil)
	}
	for _, o := range objects.Communities {
		add(kindCommunity, o, o.Status.Conditions, nil)
	}
	return all
}

// Kinds of the configuration.
const (
	kindPool             = "IPAddressPool"
	kindL2Advertisement  = "L2Advertisement"
	kindBGPAdvertisement = "BGPAdvertisement"
	kindBGPPeer          = "BGPPeer"
	kindBFDProfile       = "BFDProfile"
	kindCommunity        = "Community"
)
