// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// scattered returns n different IPv4 addresses, in runs such as pools have.
func scattered(random *rand.Rand, n int) []netip.Addr {
	seen := make(map[netip.Addr]bool, n)
	var addresses []netip.Addr
	for len(addresses) < n {
		key := random.Uint32()
		for run := range min(random.Uint32N(300), uint32(n-len(addresses))) {
			a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, key+run)))
			if !seen[a] {
				seen[a] = true
				addresses = append(addresses, a)
			}
		}
	}
	return addresses
}

func sieveOf(addresses []netip.Addr) *Sieve { return newSieve(slices.Values(addresses)) }

var sieveSizes = []int{0, 1, 2, 9, 30, 500, 1024, 10_000, 50_000}

func TestSievePassesItsSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range sieveSizes {
		addresses := scattered(random, n)
		for s := sieveOf(addresses); s != nil; s = s.coarser() {
			for _, a := range addresses {
				if !s.Passes(a) {
					t.Fatalf("of %d addresses, %d blocks drop %s", n, len(s.blocks), a)
				}
			}
		}
	}
}

func TestSieveDropsOthers(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	scattered := func(n int) (addresses []netip.Addr) {
		for range n {
			addresses = append(addresses, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, random.Uint32()))))
		}
		return addresses
	}
	for _, tt := range []struct {
		name      string
		addresses []netip.Addr
		most      float64 // part of all others that may pass
	}{
		{"none", nil, 0},
		{"one", scattered(1), 0},
		{"as many blocks as there is room for", scattered(sieveBlocks), 0},
		{"three in four of a pool of 15 000", slices.Collect(func(yield func(netip.Addr) bool) {
			a := netip.MustParseAddr("192.0.2.0")
			for range 15_000 {
				if a = a.Next(); random.IntN(4) > 0 && !yield(a) {
					return
				}
			}
		}), 0},
		{"3000, scattered", scattered(3000), 0.2},
		{"10 000, scattered", scattered(10_000), 0.5},
	} {
		s := sieveOf(tt.addresses)
		in := make(map[netip.Addr]bool)
		for _, a := range tt.addresses {
			in[a] = true
		}
		const others = 100_000
		passed := 0
		for _, a := range scattered(others) {
			if s.Passes(a) && !in[a] {
				passed++
			}
		}
		if float64(passed) > tt.most*others {
			t.Errorf("%s: %d others of %d pass, want at most %.0f", tt.name, passed, others, tt.most*others)
		}
	}
	var all *Sieve
	if !all.Passes(netip.MustParseAddr("192.0.2.1")) {
		t.Error("no sieve drops an address")
	}
}

// A coarser sieve has fewer blocks, down to one.
func TestSieveGetsCoarser(t *testing.T) {
	for s := sieveOf(scattered(rand.New(rand.NewPCG(5, 6)), 20_000)); s != nil; {
		c := s.coarser()
		if c == nil && len(s.blocks) > 1 || c != nil && len(c.blocks) >= len(s.blocks) {
			t.Fatalf("a sieve of %d blocks has no coarser one", len(s.blocks))
		}
		s = c
	}
}

// The program says of each key what Passes does.
func TestSieveProgram(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, n := range sieveSizes {
		addresses := scattered(random, n)
		s := sieveOf(addresses)
		program := append(append([]bpf.Instruction{bpf.LoadAbsolute{Size: 4}}, s.program()...), bpf.RetConstant{Val: 0})
		if len(program) > 2000 {
			t.Fatalf("the program for %d addresses has %d instructions; the kernel takes 4096, for two of them and other checks", n, len(program))
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		check := func(a netip.Addr) {
			passed, err := vm.Run(a.AsSlice())
			if err != nil {
				t.Fatal(err)
			}
			if (passed != 0) != s.Passes(a) {
				t.Fatalf("for %d addresses the program passes %s: %v", n, a, passed != 0)
			}
		}
		for _, a := range addresses[:min(n, 2000)] {
			check(a)
		}
		for range 2000 {
			check(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, random.Uint32()))))
		}
	}
}

func TestFilterSifts(t *testing.T) {
	ours := []netip.Addr{netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr(testTarget)}
	for _, tt := range []struct {
		protocol Protocol
		frame    []byte
		want     bool
	}{
		{ARP, arpFrame(t, broadcast(), arp.OperationRequest, mac{2}, "192.0.2.9", "192.0.2.100"), true},
		{ARP, arpFrame(t, broadcast(), arp.OperationRequest, mac{2}, "192.0.2.9", "192.0.2.101"), false},
		{ARP, arpFrame(t, broadcast(), arp.OperationRequest, mac{2}, "192.0.2.100", "192.0.2.9"), true},
		{ARP, arpFrame(t, broadcast(), arp.OperationReply, mac{2}, "192.0.2.100", "192.0.2.9"), true},
		{ARP, arpFrame(t, broadcast(), arp.OperationReply, mac{2}, "192.0.2.9", "192.0.2.100"), false},
		{NDP, solicitationFrame(t, solicitOptions{}), true},
		{NDP, solicitationFrame(t, solicitOptions{target: "2001:db8::9999"}), false},
	} {
		if got := runFilter(t, tt.protocol, sieveOf(ours), tt.frame, unix.PACKET_BROADCAST, 0); got != tt.want {
			t.Errorf("%s, %x: passes = %v, want %v", tt.protocol, tt.frame, got, tt.want)
		}
	}
}

// counter answers nothing and tells what it has been handed.
type counter struct{ frames chan []byte }

func (c counter) Answer(frame []byte) []byte {
	c.frames <- slices.Clone(frame)
	return nil
}

func (c counter) Answered() {}

// The kernel takes a sieve of any size, and wakes nobody for others.
func TestKernelSifts(t *testing.T) {
	for _, n := range sieveSizes[1:] {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			host, peer := linktest.Host(t), linktest.New(t)
			host.Veth(t, "sift0", peer, "eth0")
			i := Interface{Index: host.Index(t, "sift0"), Name: "sift0", MAC: host.MAC(t, "sift0")}
			s, err := new(kernel).Open(ARP, i)
			if err != nil {
				t.Fatal(err)
			}
			addresses := scattered(rand.New(rand.NewPCG(9, uint64(n))), n)
			sieve := sieveOf(addresses)
			if err := s.Admit(sieve); err != nil {
				t.Fatal(err)
			}
			got := counter{frames: make(chan []byte, 8)}
			served := make(chan error)
			go func() { served <- s.Serve(got) }()

			foreign := netip.MustParseAddr("203.0.113.1")
			for sieve.Passes(foreign) && foreign.IsValid() {
				foreign = foreign.Next()
			}
			var from Socket
			far := Interface{Index: peer.Index(t, "eth0"), Name: "eth0"}
			err = peer.Enter(func() (err error) { // a socket stays where it was made
				from, err = new(kernel).Open(ARP, far)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range []netip.Addr{foreign, addresses[n-1], foreign, addresses[0]} {
				if err := from.Send(arpFrame(t, broadcast(), arp.OperationRequest, mac{2, 9}, foreign.String(), a.String())); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []netip.Addr{addresses[n-1], addresses[0]} {
				if target := netip.AddrFrom4([4]byte((<-got.frames)[arpTargetAddrAt:])); target != want {
					t.Errorf("woken for %s, want %s", target, want)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
			if err := from.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
