// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// givenSquatter gives the client addresses out of a pool, as somebody does who
// configures a printer, until the story ends or leave is called. It is not to speak from
// them: what it is answered would go to the node that announces them.
func (s *story) givenSquatter(addrs []netip.Addr) (leave func()) {
	s.Helper()
	var once sync.Once
	leave = func() {
		once.Do(func() {
			for _, addr := range addrs {
				_, err := s.client.Exec(context.WithoutCancel(s.ctx), "ip", "address", "delete", hostPrefix(addr), "dev", lanLink)
				s.check(err)
			}
		})
	}
	s.afterwards(func() {
		leave()
		s.forgetContests()
	})
	for _, addr := range addrs {
		_, err := s.client.Exec(s.ctx, "ip", "address", "add", hostPrefix(addr), "dev", lanLink,
			"valid_lft", "forever", "preferred_lft", "0", "nodad")
		s.must(err)
	}
	return leave
}

// forgetContests takes away what speakers have recorded, which would keep addresses from
// the stories to come. They record it again as long as there are Services.
func (s *story) forgetContests() {
	s.Helper()
	s.kubectl("-n", s.ns, "delete", "services", "--all")
	s.await(patience, "no Service to be announced", func() error {
		out, err := s.lab.Kubectl(s.ctx, "-n", heraldNS, "get", "servicel2statuses", "-l", "metallb.io/service-namespace="+s.ns, "-o", "name")
		if err == nil && out != "" {
			err = fmt.Errorf("there are %s", out)
		}
		return err
	})
	s.kubectl("-n", heraldNS, "delete", "addressreservations", "-l", "herald-lb.io/contested")
}

func hostPrefix(addr netip.Addr) string { return netip.PrefixFrom(addr, addr.BitLen()).String() }

// Whoever has an address already is found before it is announced, and named.
func TestSquatterIsNamed(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		taken, free := s.givenPool(f, of(1)), s.givenPool(f, of(1))
		squatted := taken.addrs(0)
		s.givenPods(s.nodes...)
		s.givenSquatter(squatted)
		s.givenService("free", f, fromPool(free))
		s.givenService("taken", f, fromPool(taken))
		s.expectAssigned("taken", taken)
		mac, err := s.client.MAC(lanLink)
		s.must(err)
		for _, addr := range squatted {
			s.expectEvent("taken", "AddressContested", addr.String()+" is also used by the station "+mac.String())
		}
		s.expectReachable(s.expectAssigned("free", free))
		s.expectEvents("free", "AddressContested", 0)
	})
}

// An address that a station outside the cluster has is not given to the next Service, but
// to one that asks for it by name, and to everybody when the station is gone.
func TestSquattedAddressIsNotGiven(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(2))
		squatted := p.addrs(0)
		s.givenPods(s.nodes...)
		leave := s.givenSquatter(squatted)
		s.givenService("first", f, fromPool(p))
		s.expectAddresses("first", squatted)
		for _, addr := range squatted {
			s.expectEvent("first", "AddressContested", addr.String())
		}
		s.expectContested(squatted, true)
		mac, err := s.client.MAC(lanLink)
		s.must(err)
		for _, addr := range squatted {
			s.expectSaidContested("first", addr.String()+" is also used by the station "+mac.String())
		}

		s.deleteService("first")
		s.givenService("second", f, fromPool(p))
		s.expectReachable(s.expectAddressesOf("second", p.addrs(1)))
		s.givenService("asking", f, fromPool(p), annotated("metallb.io/loadBalancerIPs", joined(squatted)))
		s.expectAddresses("asking", squatted)
		for _, addr := range squatted {
			s.expectEvent("asking", "AddressContested", addr.String())
		}
		s.deleteService("asking")
		s.givenService("third", f, fromPool(p))
		s.expectWaiting("third", "AllocationFailed", p.name)

		leave()
		s.expectContested(squatted, false)
		s.expectAddresses("third", squatted)
		s.expectReachable(squatted)
	})
}

// expectSaidContested waits for the condition of a Service that says so.
func (s *story) expectSaidContested(name, words string) {
	s.Helper()
	s.await(patience, fmt.Sprintf("%s to say %q", name, words), func() error {
		c := meta.FindStatusCondition(s.service(name).Status.Conditions, "herald-lb.io/Contested")
		if c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, words) {
			return fmt.Errorf("its condition is %+v", c)
		}
		return nil
	})
}

// expectAddressesOf waits until a Service has exactly these addresses, and returns them.
func (s *story) expectAddressesOf(service string, addrs []netip.Addr) []netip.Addr {
	s.Helper()
	s.expectAddresses(service, addrs)
	return addrs
}

func joined(addrs []netip.Addr) string {
	var words []string
	for _, addr := range addrs {
		words = append(words, addr.String())
	}
	return strings.Join(words, ",")
}

// expectContested waits until the speakers have a record of each address, or none.
func (s *story) expectContested(addrs []netip.Addr, want bool) {
	s.Helper()
	s.await(3*patience, fmt.Sprintf("records of %v: %v", addrs, want), func() error {
		out, err := s.lab.Kubectl(s.ctx, "-n", heraldNS, "get", "addressreservations", "-l", "herald-lb.io/contested", "-o", "jsonpath={.items[*].spec.addresses}")
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			if strings.Contains(out, `"`+addr.String()+`"`) != want {
				return fmt.Errorf("there are %s", out)
			}
		}
		return nil
	})
}
