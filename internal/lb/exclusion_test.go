// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

func TestPoolExclusion(t *testing.T) {
	t.Parallel()
	selecting := func(texts ...string) []labels.Selector {
		var all []labels.Selector
		for _, text := range texts {
			s, err := labels.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		return all
	}
	for _, tt := range []struct {
		name       string
		allocation *lb.PoolAllocation
		want       string
	}{
		{"for all", nil, ""},
		{"only a priority", &lb.PoolAllocation{Priority: 1}, ""},
		{"admitted", &lb.PoolAllocation{Namespaces: []string{"shop"}, ServiceSelectors: selecting("app=web")}, ""},
		{"namespaces", &lb.PoolAllocation{Namespaces: []string{"bank", "post"}}, "namespace shop is not one of its namespaces (bank or post)"},
		{
			"namespace labels", &lb.PoolAllocation{NamespaceSelectors: selecting("team=blue,tier in (a,b)")},
			"the labels of namespace shop match none of its namespaceSelectors (team=blue,tier in (a,b))",
		},
		{
			"both", &lb.PoolAllocation{Namespaces: []string{"bank"}, NamespaceSelectors: selecting("team=blue")},
			"namespace shop is not one of its namespaces (bank), and its labels match none of the namespaceSelectors (team=blue)",
		},
		{
			"the Service", &lb.PoolAllocation{Namespaces: []string{"shop"}, ServiceSelectors: selecting("app=db", "app=mail")},
			"the labels of the Service match none of its serviceSelectors (app=db or app=mail)",
		},
		{
			"too many to read", &lb.PoolAllocation{Namespaces: []string{"a", "b", "c", "d", "e", "f", "g"}},
			"namespace shop is not one of its namespaces (a or b or c or d or e or 2 more)",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := lb.Pool{Allocation: tt.allocation}
			if got := p.Exclusion("shop", labels.Set{"team": "red"}, labels.Set{"app": "web"}); got != tt.want {
				t.Errorf("Exclusion is\n%q, want\n%q", got, tt.want)
			}
		})
	}
}
