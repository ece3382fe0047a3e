// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"iter"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

// NewClaim returns the claim of a Service and of what lb.ParseService found wrong with
// it: a fatal problem makes the claim Invalid.
func NewClaim(service *lb.Service, problems []lb.Problem, namespaceLabels labels.Set) Claim {
	c := Claim{Service: service, NamespaceLabels: namespaceLabels}
	var invalid []string
	for _, p := range problems {
		if p.Fatal {
			invalid = append(invalid, p.Field+": "+p.Message)
		}
	}
	c.Invalid = strings.Join(invalid, "; ")
	return c
}

// TakeOver adopts what Services were found with, the oldest Service first, and those that
// are Foreign last: what two were found with is ours rather than theirs. Then it
// makes their claims the current ones, in that order, and yields what each of these
// calls of Assign has returned. What cost a Service an address it was found with is the
// Cause of its own outcome, the first. The pools and the reservations must be set, and
// there must be no claims yet. Whoever breaks off leaves the younger Services' claims unmade.
func (a *Allocator) TakeOver(claims []Claim) iter.Seq[[]Outcome] {
	claims = slices.Clone(claims)
	slices.SortFunc(claims, func(x, y Claim) int {
		if x.Foreign != y.Foreign {
			if y.Foreign {
				return -1
			}
			return 1
		}
		return lb.CompareAge(x.Service, y.Service)
	})
	return func(yield func([]Outcome) bool) {
		causes := make(map[lb.ServiceName]string)
		for _, c := range claims {
			if len(c.Service.Addresses) == 0 {
				continue
			}
			if o := a.Adopt(c); o.Cause != "" {
				causes[o.Service] = o.Cause
			}
		}
		for _, c := range claims {
			out := a.Assign(c)
			out[0].Cause = firstOf(out[0].Cause, causes[c.Service.Name])
			if !yield(out) {
				return
			}
		}
	}
}
