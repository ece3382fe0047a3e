// SPDX-License-Identifier: Apache-2.0

package container

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRestrict(t *testing.T) {
	set := []string{"CHOWN", "KILL", "NET_RAW"}
	for name, c := range map[string]struct{ drop, add, want []string }{
		"nothing":            {nil, nil, set},
		"one":                {[]string{"KILL"}, nil, []string{"CHOWN", "NET_RAW"}},
		"with prefix":        {[]string{"CAP_KILL"}, []string{"cap_net_admin"}, []string{"CHOWN", "NET_RAW", "NET_ADMIN"}},
		"all but one":        {[]string{"ALL"}, []string{"NET_RAW"}, []string{"NET_RAW"}},
		"all":                {[]string{"all"}, nil, nil},
		"one that was there": {nil, []string{"KILL"}, set},
		"everything":         {nil, []string{"ALL"}, AllCapabilities()},
	} {
		got := Restrict(set, c.drop, c.add)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %s", name, cmp.Diff(c.want, got))
		}
	}
	if !slices.Equal(set, []string{"CHOWN", "KILL", "NET_RAW"}) {
		t.Errorf("the set was changed in place: %v", set)
	}
}

func TestCapabilityNumbers(t *testing.T) {
	// Ends and a middle of linux/capability.h.
	for name, want := range map[string]int{"CHOWN": 0, "NET_RAW": 13, "SYS_ADMIN": 21, "CHECKPOINT_RESTORE": 40} {
		if got, ok := capabilityNumber(name); !ok || got != want {
			t.Errorf("%s is %d, %t; want %d", name, got, ok, want)
		}
	}
	if _, err := Command(Spec{Root: t.TempDir(), Capabilities: []string{"FLY"}}, "shim"); err == nil || !strings.Contains(err.Error(), "FLY") {
		t.Errorf("an unknown capability: %v", err)
	}
}
