// SPDX-License-Identifier: Apache-2.0

package whatif

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// Snapshot is what there is at one moment.
type Snapshot struct {
	// Objects are the configuration.
	Objects lb.Objects
	// Claims are those of all Services, in any order, with the addresses found in their
	// statuses. Nothing is reported about those that are Foreign.
	Claims []ipam.Claim
	// Reservations are all there are, in any order.
	Reservations []ipam.Reservation
	// At is when that moment was: a reservation whose Service had been away for too long
	// keeps nothing any more.
	At time.Time
}

// inForce returns the reservations that keep something, by Service.
func (s Snapshot) inForce() map[lb.ServiceName][]ipam.Reservation {
	present := make(map[lb.ServiceName]bool, len(s.Claims))
	for _, c := range s.Claims {
		present[c.Service.Name] = !c.Foreign
	}
	kept := map[lb.ServiceName][]ipam.Reservation{}
	for _, r := range s.Reservations {
		if len(r.Addresses) > 0 && (present[r.Service] || !r.Expired(r.ReleasedAt, s.At)) {
			kept[r.Service] = append(kept[r.Service], r)
		}
	}
	return kept
}

// Simulate returns what becomes of the Services if the configuration becomes each of
// steps, one after the other, and the controller acts on each of them. Without steps
// nothing changes.
//
// The order matters: manifests are applied one object at a time, and an address that is
// taken out of one pool before it is in another is lost on the way. To ask what happens
// if all counts at once, give the last step alone.
func Simulate(s Snapshot, steps ...lb.Objects) Report {
	sim := simulation{allocator: ipam.New(), tracks: make(map[lb.ServiceName]*track, len(s.Claims))}
	already := sim.takeOver(s)
	problems := already
	for _, objects := range steps {
		problems = sim.step(objects)
	}
	return Report{
		Changes:   sim.changes(),
		Unsettled: sim.unsettled(s.Claims),
		Rejected:  rejected(already, problems),
	}
}

// simulation is a controller without a cluster.
type simulation struct {
	allocator *ipam.Allocator
	pools     []lb.Pool
	tracks    map[lb.ServiceName]*track
}

// track follows one Service from before the first step to after the last.
type track struct {
	before, now ipam.Outcome
	// cause says why the first of the addresses before went away.
	cause string
	// missed are addresses that the Service was without after some step.
	missed map[netip.Addr]struct{}
}

func (sim *simulation) takeOver(s Snapshot) []lb.Problem {
	config, problems := lb.ParseConfig(s.Objects)
	sim.pools = config.Pools
	sim.allocator.SetPools(sim.pools)
	for service, reservations := range s.inForce() {
		sim.allocator.Reserve(service, reservations)
	}
	for outcomes := range sim.allocator.TakeOver(s.Claims) {
		for _, o := range outcomes {
			sim.tracks[o.Service] = &track{before: o, now: o}
		}
	}
	return problems
}

func (sim *simulation) step(objects lb.Objects) []lb.Problem {
	config, problems := lb.ParseConfig(objects)
	if reflect.DeepEqual(sim.pools, config.Pools) {
		return problems // the controller does not look twice either
	}
	sim.pools = config.Pools
	for _, o := range sim.allocator.SetPools(config.Pools) {
		t := sim.tracks[o.Service]
		t.now, t.cause = o, cmp.Or(t.cause, o.Cause)
		for _, addr := range missing(t.before.Addresses, o.Addresses) {
			if t.missed == nil {
				t.missed = map[netip.Addr]struct{}{}
			}
			t.missed[addr] = struct{}{}
		}
	}
	return problems
}

func (sim *simulation) changes() []Change {
	changes := make([]Change, 0, len(sim.tracks))
	for _, t := range sim.tracks {
		if t.now.Reason != lb.ReasonOtherClass {
			changes = append(changes, t.change())
		}
	}
	return sorted(changes)
}

// unsettled returns the Services whose status is not what the controller makes of the
// configuration as it is.
func (sim *simulation) unsettled(claims []ipam.Claim) []Change {
	var changes []Change
	for _, c := range claims {
		found := ipam.Outcome{Addresses: c.Service.Addresses, Pool: c.Service.AllocatedFrom}
		if now := sim.tracks[c.Service.Name].before; !c.Foreign && !slices.Equal(found.Addresses, now.Addresses) {
			t := track{before: found, now: now, cause: now.Cause}
			changes = append(changes, t.change())
		}
	}
	return sorted(changes)
}

func (t *track) change() Change {
	c := Change{
		Service: t.now.Service,
		From:    t.before.Addresses, FromPool: t.before.Pool,
		To: t.now.Addresses, ToPool: t.now.Pool,
		Reason: t.now.Reason, Message: t.now.Message,
	}
	lost, gained := missing(c.From, c.To), missing(c.To, c.From)
	for _, addr := range c.To {
		if _, ok := t.missed[addr]; ok {
			c.Interrupted = append(c.Interrupted, addr)
		}
	}
	switch {
	case len(lost) > 0 && len(gained) == 0:
		c.Effect = Lose
	case len(lost) > 0 || len(c.Interrupted) > 0:
		c.Effect = Move
	case len(gained) > 0:
		c.Effect = Gain
	case len(c.To) == 0:
		c.Effect = Wait
	case len(c.To) > 0:
		c.Effect = Keep
	}
	if c.Effect.Disrupts() {
		c.Cause = t.cause
	}
	return c
}

// missing returns those of want that are not in have.
func missing(want, have []netip.Addr) []netip.Addr {
	var none []netip.Addr
	for _, addr := range want {
		if !slices.Contains(have, addr) {
			none = append(none, addr)
		}
	}
	return none
}

func sorted(changes []Change) []Change {
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Service.Namespace, b.Service.Namespace), cmp.Compare(a.Service.Name, b.Service.Name))
	})
	return changes
}

// rejected returns the verdicts on objects that would not be accepted in full.
func rejected(before, after []lb.Problem) []Rejection {
	old := lb.ByObject(before)
	var all []Rejection
	for object, problems := range lb.ByObject(after) {
		verdict := lb.VerdictOn(problems)
		if verdict.Accepted {
			continue
		}
		fatal := slices.ContainsFunc(problems, func(p lb.Problem) bool { return p.Fatal })
		all = append(all, Rejection{
			Object: object, Reason: verdict.Reason, Message: verdict.Message, Unusable: fatal,
			Already: lb.VerdictOn(old[object]) == verdict,
		})
	}
	slices.SortFunc(all, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	return all
}
