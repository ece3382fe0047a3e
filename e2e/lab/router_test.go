// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/herald-lb/herald/e2e/lab"
)

// TestRouters brings up two routers that speak BGP to each other.
func TestRouters(t *testing.T) {
	if _, err := os.Stat("/usr/lib/frr/bgpd"); err != nil {
		t.Skip("needs Debian's package frr")
	}
	ctx, l := start(t, lab.Options{Topology: "e2e/lab/testdata/routers/two.clab.yml"})
	var routers [2]*lab.Host
	for i, name := range []string{"r1", "r2"} {
		r, err := l.Router(name)
		if err != nil {
			t.Fatal(err)
		}
		routers[i] = r
	}
	assertRoute(ctx, t, routers[0], "198.51.100.2")
	assertRoute(ctx, t, routers[1], "198.51.100.1")
	if out, err := routers[0].Exec(ctx, "vtysh", "-c", "show running-config"); err != nil || !strings.Contains(out, "hostname r1") {
		t.Errorf("r1 runs %q, %v", out, err)
	}
	if out, err := routers[0].Exec(ctx, "ip", "link", "show", "eth1"); err != nil || !strings.Contains(out, "mtu 9000") {
		t.Errorf("the link is %q, %v; want an MTU of 9000", out, err)
	}
	// A daemon that is killed comes back, with its configuration.
	before, err := l.PID("r2/bgpd")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Kill("r2/bgpd"); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, func() error {
		if after, err := l.PID("r2/bgpd"); err != nil || after == 0 || after == before {
			return fmt.Errorf("bgpd is process %d, was %d: %w", after, before, err)
		}
		return nil
	})
	assertRoute(ctx, t, routers[1], "198.51.100.1")
}

// assertRoute waits until a BGP route is in the router's kernel.
func assertRoute(ctx context.Context, t *testing.T, r *lab.Host, to string) {
	t.Helper()
	eventually(ctx, t, func() error {
		out, err := r.Exec(ctx, "ip", "route", "show", to+"/32")
		if err == nil && !strings.Contains(out, "proto bgp") {
			err = fmt.Errorf("%s has no route to %s: %q", r.Name(), to, out)
		}
		return err
	})
}
