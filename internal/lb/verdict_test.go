// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

func TestVerdictOn(t *testing.T) {
	t.Parallel()
	redundant := lb.Problem{Field: "spec.a", Reason: lb.ReasonRedundant, Message: "twice"}
	conflict := lb.Problem{Field: "spec.b", Reason: lb.ReasonConflict, Message: "lost"}
	unknown := lb.Problem{Field: "spec.c", Reason: lb.ReasonUnknownReference, Message: "nowhere"}
	invalid := lb.Problem{Field: "spec.d", Reason: lb.ReasonInvalid, Message: "wrong", Fatal: true}
	for _, tt := range []struct {
		name     string
		problems []lb.Problem
		want     lb.Verdict
	}{
		{"no problem", nil, lb.Verdict{Accepted: true, Reason: lb.ReasonAccepted, Message: "in use"}},
		{"what costs nothing", []lb.Problem{redundant}, lb.Verdict{Accepted: true, Reason: lb.ReasonAccepted, Message: "spec.a: twice"}},
		{
			"what costs a part",
			[]lb.Problem{redundant, conflict, unknown},
			lb.Verdict{Reason: lb.ReasonConflict, Message: "spec.a: twice\nspec.b: lost\nspec.c: nowhere"},
		},
		{"what costs all", []lb.Problem{conflict, invalid}, lb.Verdict{Reason: lb.ReasonInvalid, Message: "spec.b: lost\nspec.d: wrong"}},
	} {
		if diff := cmp.Diff(tt.want, lb.VerdictOn(tt.problems)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestVerdictIsReadable(t *testing.T) {
	t.Parallel()
	var problems []lb.Problem
	for i := range 1000 {
		problems = append(problems, lb.Problem{Field: fmt.Sprintf("spec.addresses[%d]", i), Reason: lb.ReasonConflict, Message: "lost"})
	}
	lines := strings.Split(lb.VerdictOn(problems).Message, "\n")
	if len(lines) != 21 || lines[20] != "and 980 more problems" {
		t.Errorf("%d lines, the last is %q; want 20 problems and how many more there are", len(lines), lines[len(lines)-1])
	}
}

func TestByObject(t *testing.T) {
	t.Parallel()
	a, b := lb.Object{Kind: "IPAddressPool", Namespace: "x", Name: "a"}, lb.Object{Kind: "Community", Name: "b"}
	problems := []lb.Problem{{Object: a, Field: "1"}, {Object: b, Field: "2"}, {Object: a, Field: "3", Message: "wrong"}}
	want := map[lb.Object][]lb.Problem{a: {problems[0], problems[2]}, b: {problems[1]}}
	if diff := cmp.Diff(want, lb.ByObject(problems)); diff != "" {
		t.Errorf("problems by object (-want +got):\n%s", diff)
	}
}

// People and logs see these.
func TestWords(t *testing.T) {
	t.Parallel()
	a := lb.Object{Kind: "IPAddressPool", Namespace: "x", Name: "a"}
	for _, tt := range []struct{ got, want string }{
		{a.String(), "IPAddressPool x/a"},
		{lb.Object{Kind: "Node", Name: "n"}.String(), "Node n"},
		{lb.Problem{Object: a, Field: "spec.addresses", Message: "is empty"}.String(), "IPAddressPool x/a: spec.addresses: is empty"},
		{lb.ServiceName{Namespace: "x", Name: "web"}.String(), "x/web"},
		{lb.IPv4.String(), "IPv4"},
		{lb.IPv6.String(), "IPv6"},
		{lb.Family(0).String(), "no family"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q; want %q", tt.got, tt.want)
		}
	}
}
