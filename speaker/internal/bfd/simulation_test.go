// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// simulation is two machines and the wire between them, in a time of its own.
type simulation struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	ends   [2]*machine
	wire   [2][]flight // to each end, in the order of arrival
	loss   float64
	cut    bool
	// what happened
	flaps   [2]int // Up and then not
	downAt  [2]time.Time
	heardAt [2]time.Time
}

// flight is a packet on the wire.
type flight struct {
	arrives time.Time
	bytes   []byte
}

func newSimulation(t *testing.T, seed uint64, configs [2]Config) *simulation {
	s := &simulation{t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0)}
	for i, c := range configs {
		complete, err := c.complete()
		if err != nil {
			t.Fatal(err)
		}
		s.ends[i] = newMachine(complete, false, uint32(i+1), s.random, s.now)
	}
	return s
}

// randomConfig is any that a profile allows.
func randomConfig(random *rand.Rand) Config {
	interval := func() time.Duration { return time.Duration(10+random.IntN(500)) * ms }
	return Config{TransmitInterval: interval(), ReceiveInterval: interval(), DetectMultiplier: uint8(2 + random.IntN(4))}
}

// run lets time pass; each millisecond is looked at, so timers are up to one late.
func (s *simulation) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(ms) {
		for i, m := range s.ends {
			for len(s.wire[i]) > 0 && !s.wire[i][0].arrives.After(s.now) {
				p, err := parse(s.wire[i][0].bytes)
				if err != nil {
					s.t.Fatal(err)
				}
				s.wire[i] = s.wire[i][1:]
				s.heardAt[i] = s.now
				s.follow(i, m.receive(&p, s.now))
			}
			if at := m.next(); !at.IsZero() && !at.After(s.now) {
				s.follow(i, m.advance(s.now))
			}
		}
	}
}

func (s *simulation) configure(end int, c Config) {
	complete, err := c.complete()
	if err != nil {
		s.t.Fatal(err)
	}
	s.follow(end, s.ends[end].configure(complete, s.now))
}

// follow does what an end wants done.
func (s *simulation) follow(end int, o output) {
	if o.changed && o.previous.state == Up && s.ends[end].state != Up {
		s.flaps[end]++
		s.downAt[end] = s.now
	}
	if !o.send || s.cut || s.random.Float64() < s.loss {
		return
	}
	to := 1 - end
	arrives := s.now.Add(time.Duration(s.random.IntN(3)) * ms)
	if n := len(s.wire[to]); n > 0 && s.wire[to][n-1].arrives.After(arrives) {
		arrives = s.wire[to][n-1].arrives
	}
	s.wire[to] = append(s.wire[to], flight{arrives, o.packet.append(nil)})
}

func (s *simulation) bothUp() bool { return s.ends[0].state == Up && s.ends[1].state == Up }

func (s *simulation) String() string {
	return fmt.Sprintf("%s and %s, flaps %v, configs %+v and %+v",
		s.ends[0].state, s.ends[1].state, s.flaps, s.ends[0].config, s.ends[1].config)
}

// checkAgreement: each end sends as often as the other counts on.
func (s *simulation) checkAgreement() {
	s.t.Helper()
	for i, m := range s.ends {
		other := s.ends[1-i]
		want := time.Duration(m.config.DetectMultiplier) * m.transmitInterval()
		if other.detectionTime() != want || m.poll != noPoll {
			s.t.Fatalf("end %d sends each %s x %d, the other detects in %s (poll %d): %s",
				i, m.transmitInterval(), m.config.DetectMultiplier, other.detectionTime(), m.poll, s)
		}
	}
}

// Whatever the configurations: up soon, agreed, no flap, also when both ends
// change their minds again and again.
func TestSimulationNoFlapWithoutLoss(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		s := newSimulation(t, seed, [2]Config{randomConfig(random), randomConfig(random)})
		s.run(3 * time.Second)
		if !s.bothUp() {
			t.Fatalf("seed %d: not up after 3 s: %s", seed, s)
		}
		s.run(3 * time.Second)
		s.checkAgreement()
		for range 20 {
			s.configure(random.IntN(2), randomConfig(random))
			s.run(time.Duration(random.IntN(2000)) * ms)
		}
		s.run(10 * time.Second)
		if s.flaps != [2]int{} || !s.bothUp() {
			t.Fatalf("seed %d: %s", seed, s)
		}
		s.checkAgreement()
	}
}

// A cut is noticed at both ends within the Detection Time, and after it both are
// up again.
func TestSimulationCut(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 3))
		s := newSimulation(t, seed, [2]Config{randomConfig(random), randomConfig(random)})
		s.run(6*time.Second + time.Duration(random.IntN(1000))*ms)
		s.cut = true
		bounds := [2]time.Duration{s.ends[0].detectionTime(), s.ends[1].detectionTime()}
		s.run(5 * time.Second)
		for i, bound := range bounds {
			if s.flaps[i] != 1 {
				t.Fatalf("seed %d: end %d went down %d times: %s", seed, i, s.flaps[i], s)
			}
			if silence := s.downAt[i].Sub(s.heardAt[i]); silence < bound || silence > bound+ms {
				t.Fatalf("seed %d: end %d noticed after %s, Detection Time %s", seed, i, silence, bound)
			}
		}
		s.cut = false
		s.run(4 * time.Second)
		if !s.bothUp() {
			t.Fatalf("seed %d: not up again: %s", seed, s)
		}
	}
}

// Loss may cost the session, but never the agreement of both ends for good.
func TestSimulationAgreesAfterLoss(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 4))
		s := newSimulation(t, seed, [2]Config{randomConfig(random), randomConfig(random)})
		s.loss = random.Float64()
		for range 20 {
			s.configure(random.IntN(2), randomConfig(random))
			s.run(time.Duration(random.IntN(1000)) * ms)
		}
		s.loss = 0
		s.run(15 * time.Second)
		if !s.bothUp() {
			t.Fatalf("seed %d: not up after the loss: %s", seed, s)
		}
		s.checkAgreement()
		before := s.flaps
		s.run(20 * time.Second)
		if s.flaps != before {
			t.Fatalf("seed %d: flaps after the loss: %s", seed, s)
		}
	}
}

// A restarted neighbor has a new discriminator and knows nothing: that is noticed
// by what it says, not by silence.
func TestSimulationRestart(t *testing.T) {
	s := newSimulation(t, 1, [2]Config{{}, {}})
	s.run(6 * time.Second)
	s.ends[1] = newMachine(s.ends[1].config, false, 77, s.random, s.now)
	s.run(100 * ms)
	if s.flaps[0] != 1 || s.ends[0].diagnostic != NeighborSignaledDown && s.ends[0].state != Up {
		t.Fatalf("the restart was not noticed at once: %s", s)
	}
	s.run(3 * time.Second)
	if !s.bothUp() || s.ends[0].remote != 77 {
		t.Fatalf("not up again with the new one: %s", s)
	}
}
