// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

// Claim is what a Service asks for.
type Claim struct {
	// Service is the wish. It must not be modified afterwards.
	Service *lb.Service
	// NamespaceLabels are those of the Service's namespace. Nil: it has none.
	NamespaceLabels labels.Set
	// Invalid says why the wish cannot be understood. Such a claim keeps what the
	// Service has and gets nothing new. Empty: it can be.
	Invalid string
	// Foreign marks a Service that others serve. It asks for nothing, and nobody else is
	// given what its status shows. Its Outcomes have lb.ReasonOtherClass.
	Foreign bool
}

// Wishes returns the addresses that the Service asks for by name.
func (c Claim) Wishes() []netip.Addr {
	if c.Service == nil || c.Foreign || c.Invalid != "" {
		return nil
	}
	return c.Service.Requested
}

// Outcome is what an Allocator made of the claim of one Service.
type Outcome struct {
	Service lb.ServiceName
	// Addresses are what the Service has now, in the order of its status. They
	// must not be modified. Empty: none.
	Addresses []netip.Addr
	// Pool is where Addresses come from. If that are several pools, it is a list with
	// one for each address, separated by commas; lb.Service.PoolOf reads it. Empty
	// without addresses.
	Pool string
	// Reason is lb.ReasonAllocated where the Service has what it claims, and else
	// why it has not, even if it still has other addresses.
	Reason lb.Reason
	// Message explains Reason to the Service's owner. With lb.ReasonAllocated it is
	// empty, or says why a preferred second address is missing.
	Message string

	// Previous are the addresses that the Service had before the call.
	Previous []netip.Addr
	// Cause says why some of Previous are not among Addresses. Empty if all are.
	Cause string
}

// refusal is why a claim, or a part of it, is not granted. Nil: it is.
type refusal struct {
	reason  lb.Reason
	message string
}

// grant is an address together with its place in a pool.
type grant struct {
	addr netip.Addr
	pool *pool
	// order is the index of the address's range in the pool.
	order int
}

func (g grant) position() position { return position{g.order, g.addr} }

// claimant is a Service with what it claims, what it holds and what it waits for.
type claimant struct {
	claim  Claim
	grants []grant
	// verdict is the refusal of the last decision. Nil: fully granted.
	verdict *refusal
	// lacking is why a preferred second address was not given. Empty: it was.
	lacking string
	// shrunk reports that a pool edit took one of two addresses, which permits
	// one move to a pool that has both families.
	shrunk bool
	// waits is what could change the verdict. Zero: nothing but the pools.
	waits wait
}

func (c *claimant) name() lb.ServiceName { return c.claim.Service.Name }

// byAge orders claimants as lb.CompareAge orders their Services.
func byAge(a, b *claimant) int { return lb.CompareAge(a.claim.Service, b.claim.Service) }

func older(a, b *claimant) bool { return byAge(a, b) < 0 }

// unmet reports whether the claimant would like something else than it has.
func (c *claimant) unmet() bool { return c.verdict != nil || c.lacking != "" }

// addresses returns what the claimant holds, in the order of its status.
func (c *claimant) addresses() []netip.Addr { return addressesOf(c.grants) }

func addressesOf(grants []grant) []netip.Addr {
	if len(grants) == 0 {
		return nil
	}
	addrs := make([]netip.Addr, len(grants))
	for i, g := range grants {
		addrs[i] = g.addr
	}
	return addrs
}

func (c *claimant) holds(a netip.Addr) bool {
	return slices.ContainsFunc(c.grants, func(g grant) bool { return g.addr == a })
}

// requiresBoth reports whether one address alone is as good as none.
func (c *claimant) requiresBoth() bool {
	return c.claim.Service.FamilyPolicy == corev1.IPFamilyPolicyRequireDualStack
}

// prefersBoth reports whether a second address is welcome but not necessary.
func (c *claimant) prefersBoth() bool {
	s := c.claim.Service
	return s.FamilyPolicy == corev1.IPFamilyPolicyPreferDualStack && len(s.Families) == 2
}

// mixes reports whether two addresses may be from two pools.
func (c *claimant) mixes() bool { return c.claim.Service.AnyPools && len(c.families()) == 2 }

// families returns the families in which the claimant may have an address, the
// primary one first.
func (c *claimant) families() []lb.Family {
	s := c.claim.Service
	if len(s.Families) == 0 || c.requiresBoth() || c.prefersBoth() {
		return s.Families
	}
	return s.Families[:1]
}

// defect returns why the claim makes no sense by itself, whatever the pools are.
func (c *claimant) defect() *refusal {
	s := c.claim.Service
	invalid := func(message string) *refusal { return &refusal{lb.ReasonInvalidService, message} }
	switch {
	case c.claim.Invalid != "":
		return invalid(c.claim.Invalid)
	case len(s.Families) == 0:
		return invalid("the Service has no cluster IP, so it has no IP family; give it one")
	case c.requiresBoth() && len(s.Families) < 2:
		return invalid("ipFamilyPolicy is RequireDualStack, but the Service has cluster IPs of one family only")
	}
	return nil
}
