// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// desk is where claims are handed in. It remembers the last outcome of each Service.
type desk struct {
	*testing.T
	a    *ipam.Allocator
	last map[string]ipam.Outcome
	seq  int64
}

func newDesk(t *testing.T, pools ...lb.Pool) *desk {
	d := &desk{T: t, a: ipam.New(), last: map[string]ipam.Outcome{}}
	d.pools(pools...)
	return d
}

func (d *desk) pools(pools ...lb.Pool) { d.note(d.a.SetPools(pools)) }

func (d *desk) note(out []ipam.Outcome) {
	for _, o := range out {
		d.last[o.Service.Name] = o
	}
}

// claim hands in the claim of a Service in namespace shop, younger than all before.
func (d *desk) claim(name string, wishes ...func(*ipam.Claim)) {
	d.note(d.a.Assign(d.make(name, wishes...)))
}

func (d *desk) adopt(name string, wishes ...func(*ipam.Claim)) ipam.Outcome {
	return d.a.Adopt(d.make(name, wishes...))
}

func (d *desk) make(name string, wishes ...func(*ipam.Claim)) ipam.Claim {
	d.seq++
	c := ipam.Claim{Service: &lb.Service{
		Name: lb.ServiceName{Namespace: "shop", Name: name}, Created: time.Unix(d.seq, 0),
		Families: []lb.Family{lb.IPv4}, FamilyPolicy: corev1.IPFamilyPolicySingleStack,
		Ports: []lb.Port{{Protocol: "TCP", Number: 80}},
	}}
	for _, wish := range wishes {
		wish(&c)
	}
	return c
}

func (d *desk) release(name string) {
	d.note(d.a.Release(lb.ServiceName{Namespace: "shop", Name: name}))
	delete(d.last, name)
}

// want expects "addresses pool Reason" as the last word on a Service.
func (d *desk) want(name, want string) {
	d.Helper()
	o := d.last[name]
	var words []string
	for _, a := range o.Addresses {
		words = append(words, a.String())
	}
	got := strings.TrimSpace(strings.Join(words, ",") + " " + o.Pool)
	got = strings.TrimSpace(got + " " + o.Reason.String())
	if got != want {
		d.Errorf("%s has %q, want %q (%s)", name, got, want, o.Message)
	}
}

func (d *desk) says(name string, words ...string) {
	d.Helper()
	for _, w := range words {
		if !strings.Contains(d.last[name].Message, w) {
			d.Errorf("the message to %s, %q, does not say %q", name, d.last[name].Message, w)
		}
	}
}

// Wishes.

func asks(list ...string) func(*ipam.Claim) {
	return func(c *ipam.Claim) {
		for _, a := range list {
			c.Service.Requested = append(c.Service.Requested, netip.MustParseAddr(a))
		}
	}
}

func inPool(name string) func(*ipam.Claim) { return func(c *ipam.Claim) { c.Service.Pool = name } }

func dual(policy corev1.IPFamilyPolicy, families ...lb.Family) func(*ipam.Claim) {
	return func(c *ipam.Claim) { c.Service.FamilyPolicy, c.Service.Families = policy, families }
}

func v6Only(c *ipam.Claim) { c.Service.Families = []lb.Family{lb.IPv6} }

func prefers(c *ipam.Claim) { dual(corev1.IPFamilyPolicyPreferDualStack, lb.IPv4, lb.IPv6)(c) }

func prefersV6(c *ipam.Claim) { dual(corev1.IPFamilyPolicyPreferDualStack, lb.IPv6, lb.IPv4)(c) }

func requires(c *ipam.Claim) { dual(corev1.IPFamilyPolicyRequireDualStack, lb.IPv4, lb.IPv6)(c) }

func shares(key string, ports ...uint16) func(*ipam.Claim) {
	return func(c *ipam.Claim) {
		c.Service.SharingKey, c.Service.Ports = key, nil
		for _, n := range ports {
			c.Service.Ports = append(c.Service.Ports, lb.Port{Protocol: "TCP", Number: n})
		}
	}
}

func local(backends string) func(*ipam.Claim) {
	return func(c *ipam.Claim) { c.Service.Local, c.Service.Backends = true, backends }
}

// agrees opts in to sharing with Services that have another selector.
func agrees(c *ipam.Claim) { c.Service.LocalSharing = true }

func foreign(c *ipam.Claim) { c.Foreign = true }

func labelled(ls ...string) func(*ipam.Claim) {
	return func(c *ipam.Claim) { c.Service.Labels = labels.Set{ls[0]: ls[1]} }
}

func inNamespace(ls ...string) func(*ipam.Claim) {
	return func(c *ipam.Claim) { c.NamespaceLabels = labels.Set{ls[0]: ls[1]} }
}

func found(pool string, list ...string) func(*ipam.Claim) {
	return func(c *ipam.Claim) {
		c.Service.AllocatedFrom = pool
		for _, a := range list {
			c.Service.Addresses = append(c.Service.Addresses, netip.MustParseAddr(a))
		}
	}
}

// Pools.

func pool(name string, edits ...func(*lb.Pool)) lb.Pool {
	p := lb.Pool{Name: name, AutoAssign: true}
	for _, e := range edits {
		e(&p)
	}
	return p
}

func of(first, last string) func(*lb.Pool) {
	return func(p *lb.Pool) {
		r, ok := lb.MakeRange(netip.MustParseAddr(first), netip.MustParseAddr(last))
		if !ok {
			panic(first + " " + last)
		}
		p.Ranges = append(p.Ranges, r)
	}
}

func manual(p *lb.Pool)  { p.AutoAssign = false }
func broken(p *lb.Pool)  { p.Broken, p.Ranges = true, nil }
func noBuggy(p *lb.Pool) { p.AvoidBuggyIPs = true }

func pinned(edits ...func(*lb.PoolAllocation)) func(*lb.Pool) {
	return func(p *lb.Pool) {
		p.Allocation = &lb.PoolAllocation{}
		for _, e := range edits {
			e(p.Allocation)
		}
	}
}

func toNamespace(name string) func(*lb.PoolAllocation) {
	return func(a *lb.PoolAllocation) { a.Namespaces = append(a.Namespaces, name) }
}

func toNamespaces(ls ...string) func(*lb.PoolAllocation) {
	return func(a *lb.PoolAllocation) {
		a.NamespaceSelectors = append(a.NamespaceSelectors, labels.SelectorFromSet(labels.Set{ls[0]: ls[1]}))
	}
}

func toServices(ls ...string) func(*lb.PoolAllocation) {
	return func(a *lb.PoolAllocation) {
		a.ServiceSelectors = append(a.ServiceSelectors, labels.SelectorFromSet(labels.Set{ls[0]: ls[1]}))
	}
}
