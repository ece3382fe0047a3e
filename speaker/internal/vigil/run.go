// SPDX-License-Identifier: Apache-2.0

package vigil

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/bfd"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/suspect"
)

const (
	// beat is how often this process makes sure that it runs, and lease for how long it
	// may answer after that. Others need the Detection Time and a question to take over,
	// which is longer.
	beat  = 50 * time.Millisecond
	lease = 150 * time.Millisecond
	// slowInterval is the time between two packets to a speaker that is down.
	slowInterval = 200 * time.Millisecond
	multiplier   = 3
	// farthest is the lowest TTL that a packet may arrive with: the addresses of nodes
	// may be some routers apart, though their LAN is one.
	farthest = 250
	// patience bounds a question, with the decision on what to ask for.
	patience = 2 * time.Second
)

// answer is what came of a question about a suspect.
type answer struct {
	node    lb.NodeName
	outcome suspect.Answer
	others  bool // anybody was heard on the LAN
}

// Run watches until ctx ends.
func (v *Vigil) Run(ctx context.Context) error {
	var questions errgroup.Group
	defer func() { _ = questions.Wait() }() // none returns an error
	defer v.LAN.Extend(time.Time{})         // we leave in good order, and answer until others do
	settled := v.Gossip.Settled()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	v.pulse = time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-settled:
			settled = nil
			v.settle()
		case <-v.Gossip.Changed():
			v.takeMembers()
		case <-v.moved:
			v.takeChanges()
		case b := <-v.Gossip.Told():
			v.takeMessage(b)
		case a := <-v.answers:
			v.machine.Answered(a.node, a.outcome, v.company(a), time.Now())
		case <-tick.C:
		case <-timer.C:
		}
		v.beat()
		v.act(ctx, &questions)
		if next := v.machine.Next(); !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

// settle begins: the others may rely on this speaker from now on.
func (v *Vigil) settle() {
	v.takeMembers()
	v.publish()
	close(v.settled)
	v.tell(encode(suspect.Here, v.Node, v.Node, v.number()))
	v.watch()
}

func (v *Vigil) hasSettled() bool {
	select {
	case <-v.settled:
		return true
	default:
		return false
	}
}

func (v *Vigil) takeMembers() {
	alive := v.Gossip.Alive()
	maps.Copy(v.known, alive)
	v.machine.Members(alive, v.Gossip.Left, time.Now())
	v.watch()
}

// takeChanges takes what has changed of sessions and nodes.
func (v *Vigil) takeChanges() {
	v.mu.Lock()
	changes := v.changes
	v.changes = nil
	v.mu.Unlock()
	for _, c := range changes {
		v.mu.Lock()
		name, ok := v.byPath[c.Path]
		v.mu.Unlock()
		switch {
		case !ok:
		case c.State == bfd.Up:
			v.machine.Up(name)
		case c.Previous == bfd.Up:
			silent := c.Failure() && c.Diagnostic == bfd.ControlDetectionTimeExpired
			v.machine.Down(name, silent, c.SelfLate > 0, time.Now())
		}
	}
	v.watch()
}

func (v *Vigil) takeMessage(b []byte) {
	m, ok := v.take(b)
	if !ok {
		return
	}
	v.Log.Debug("told", "kind", string(m.Kind), lb.LogKeyMember, m.Node, logKeyBy, m.By)
	if m.Kind == kindReady {
		select {
		case v.ready <- m.By:
		default:
		}
		return
	}
	now := time.Now()
	fresh := now.Sub(v.BFD.Heard(v.paths[m.Node].path)) <= v.Interval
	v.machine.Told(m, fresh, now)
}

// beat lets this node answer for a while, unless this process has been late: then
// others may have taken over.
func (v *Vigil) beat() {
	now := time.Now()
	if now.Sub(v.pulse) > lease {
		v.machine.Late(now)
	}
	v.pulse = now
	v.machine.Advance(now)
	switch {
	case v.machine.Doubting():
	case v.machine.Only():
		v.LAN.Extend(time.Time{}) // there is nobody to take over
	default:
		v.LAN.Extend(now.Add(lease))
	}
}

// act does what the machine wants done.
func (v *Vigil) act(ctx context.Context, questions *errgroup.Group) {
	o := v.machine.Take()
	for _, n := range o.Notes {
		v.log(n)
	}
	if len(o.Notes) > 0 {
		v.metrics.set(v.machine.Counts())
	}
	if o.Changed {
		v.publish()
		ring(v.changed)
	}
	for _, m := range o.Tell {
		v.tell(encode(m.Kind, m.Node, m.By, v.number()))
	}
	for _, name := range o.Seek {
		v.Gossip.Seek(name)
	}
	for _, name := range o.Ask {
		linger := v.machine.Lonely(name)
		questions.Go(func() error {
			v.ask(ctx, name, linger)
			return nil
		})
	}
	if o.Renew && v.hasSettled() {
		v.LAN.Renew()
		v.SayReady()
	}
}

// publish makes Alive say what the machine does.
func (v *Vigil) publish() {
	present := v.machine.Present()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.present = present
}

// ask asks the LAN for what this node would inherit.
func (v *Vigil) ask(ctx context.Context, name lb.NodeName, linger bool) {
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a := answer{node: name}
	switch inheritance, ok := v.Heir.Inheritance(asking, name); {
	case !ok:
	case len(inheritance) == 0:
		a.outcome = suspect.NothingToInherit
	default:
		o, others := v.LAN.Ask(asking, inheritance, linger)
		a.outcome, a.others = answerOf(o), others
	}
	select {
	case v.answers <- a:
	case <-ctx.Done():
	}
}

func answerOf(o layer2.Outcome) suspect.Answer {
	switch o {
	case layer2.Unable:
		return suspect.Unable
	case layer2.Silence:
		return suspect.Nobody
	case layer2.Answered:
		return suspect.Somebody
	}
	return suspect.Unable
}

// company says whether anybody was heard, on the node network or on the LAN, since a
// speaker fell silent.
func (v *Vigil) company(a answer) bool {
	recent := time.Now().Add(-2 * v.Interval)
	for name, w := range v.paths {
		if name != a.node && v.BFD.Heard(w.path).After(recent) {
			return true
		}
	}
	return a.others
}

// watch makes the sessions those that are wanted. There are none before this speaker
// has settled: a session that is up says that it can be relied on.
func (v *Vigil) watch() {
	if !v.hasSettled() || v.Interval == 0 {
		return
	}
	v.mu.Lock()
	peers := v.peers
	v.mu.Unlock()
	var others []lb.NodeName
	for name := range v.known {
		if _, ok := peers[name]; ok {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	local := v.Address
	if local.IsUnspecified() {
		local = netip.Addr{} // the kernel chooses
	}
	wanted := make(map[lb.NodeName]watched)
	for _, name := range neighbors(v.Node, others) {
		wanted[name] = watched{
			bfd.Path{Peer: peers[name], Local: local, Multihop: true},
			bfd.Config{
				TransmitInterval: v.Interval, ReceiveInterval: v.Interval, SlowInterval: max(slowInterval, v.Interval),
				DetectMultiplier: multiplier, MinimumTTL: farthest,
			},
		}
	}
	v.apply(wanted)
}

func (v *Vigil) apply(wanted map[lb.NodeName]watched) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, w := range v.paths {
		if wanted[name].path != w.path {
			v.BFD.Remove(w.path)
			delete(v.byPath, w.path)
			delete(v.up, w.path)
			delete(v.paths, name)
		}
	}
	for name, w := range wanted {
		if v.paths[name] == w {
			continue
		}
		if err := v.BFD.Set(w.path, w.config); err != nil {
			v.Log.Error("speaker is not watched", lb.LogKeyMember, name, lb.LogKeyError, err)
			continue
		}
		v.paths[name], v.byPath[w.path] = w, name
	}
}
