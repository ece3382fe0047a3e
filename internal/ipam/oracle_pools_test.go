// SPDX-License-Identifier: Apache-2.0

package ipam_test

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

func mayShare(x, y ipam.Claim) bool {
	a, b := x.Service, y.Service
	if x.Foreign || y.Foreign {
		return false
	}
	if a.SharingKey == "" || a.SharingKey != b.SharingKey || a.Local != b.Local {
		return false
	}
	if a.Local && a.Backends != b.Backends && (!a.LocalSharing || !b.LocalSharing) {
		return false
	}
	for _, p := range a.Ports {
		if slices.Contains(b.Ports, p) {
			return false
		}
	}
	return true
}

func (o *oracle) pool(name string) *lb.Pool {
	c := lb.Config{Pools: o.pools}
	p, _ := c.PoolByName(name)
	return p
}

// poolFor returns the pool that lists a, or the one it came from if that is broken.
func (o *oracle) poolFor(a netip.Addr, from string) *lb.Pool {
	for i := range o.pools {
		if slices.Contains(list(&o.pools[i], lb.FamilyOf(a)), a) {
			return &o.pools[i]
		}
	}
	if p := o.pool(from); p != nil && p.Broken {
		return p
	}
	return nil
}

// list returns every address of one family that the pool may give, in order.
func list(p *lb.Pool, f lb.Family) []netip.Addr {
	var all []netip.Addr
	for _, r := range p.Ranges {
		if r.Family() != f {
			continue
		}
		for a := r.First(); r.Contains(a); a = a.Next() {
			if p.AvoidBuggyIPs && a.Is4() && (a.As4()[3] == 0 || a.As4()[3] == 255) {
				continue
			}
			all = append(all, a)
		}
	}
	return all
}

func admits(p *lb.Pool, w *wisher) bool {
	return p.Admits(w.Service.Name.Namespace, w.NamespaceLabels, w.Service.Labels)
}

func prefersPair(w *wisher) bool {
	s := w.Service
	return s.FamilyPolicy == corev1.IPFamilyPolicyPreferDualStack && len(s.Families) == 2 && len(s.Requested) == 0
}

func wanted(w *wisher) []lb.Family {
	s := w.Service
	if s.FamilyPolicy == corev1.IPFamilyPolicySingleStack || len(s.Families) < 2 {
		return s.Families[:min(1, len(s.Families))]
	}
	return s.Families
}

func other(a netip.Addr) lb.Family {
	if a.Is4() {
		return lb.IPv6
	}
	return lb.IPv4
}
