// SPDX-License-Identifier: Apache-2.0

package bgptest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// frrDaemons is where Debian has FRR's daemons.
const frrDaemons = "/usr/lib/frr/"

// FRR is zebra and bgpd of FRRouting.
type FRR struct {
	ns   *linktest.Namespace
	dir  string
	bgpd *program
}

// NewFRR starts FRR in the namespace.
func NewFRR(t testing.TB, ns *linktest.Namespace, c Config) Router {
	t.Helper()
	need(t, "nsenter", "vtysh", frrDaemons+"bgpd", frrDaemons+"zebra")
	f := &FRR{ns: ns, dir: tempDir(t)}
	write(t, f.dir, "zebra.conf", "hostname router\n")
	write(t, f.dir, "bgpd.conf", "hostname router\n"+c.frr())
	out, err := exec.Command("chown", "-R", "frr:frr", f.dir).CombinedOutput() //nolint:gosec // the directory is ours
	if err != nil {
		t.Fatalf("give %s to FRR: %s", f.dir, out)
	}
	f.daemon(t, "zebra")
	linktest.Await(t, func() bool { return exists(filepath.Join(f.dir, "zserv.api")) }, func() { t.Log("zebra has no socket") })
	f.Start(t)
	return f
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (f *FRR) daemon(t testing.TB, name string) *program {
	t.Helper()
	return start(t, f.ns, frrDaemons+name, "-f", filepath.Join(f.dir, name+".conf"), "-i", filepath.Join(f.dir, name+".pid"),
		"-z", filepath.Join(f.dir, "zserv.api"), "--vty_socket", f.dir, "-P", "0",
		"--log", "stdout")
}

// Start starts bgpd, again after Kill.
func (f *FRR) Start(t testing.TB) {
	t.Helper()
	f.bgpd = f.daemon(t, "bgpd")
	linktest.Await(t, func() bool { return f.Show("show bgp summary json") != "" }, func() { t.Log("bgpd does not answer") })
}

// Kill ends bgpd as a crash would.
func (f *FRR) Kill() { f.bgpd.kill() }

// Show returns what vtysh says to a command, and nothing if it has failed.
func (f *FRR) Show(command string) string {
	return run("vtysh", "--vty_socket", f.dir, "-c", command)
}

// frrPath is a path in the JSON of show bgp.
type frrPath struct {
	ASPath         struct{ String string }
	LocalPref      uint32 `json:"locPrf"`
	Stale          bool
	NextHops       []struct{ IP string }
	Community      struct{ List []string }
	LargeCommunity struct{ List []string }
}

// Route returns the best route to a prefix, and whether there is one.
func (f *FRR) Route(prefix string) (Route, bool) {
	family := "ipv4"
	if strings.Contains(prefix, ":") {
		family = "ipv6"
	}
	var entry struct{ Paths []frrPath }
	out := f.Show("show bgp " + family + " unicast " + prefix + " json")
	if json.Unmarshal([]byte(out), &entry) != nil || len(entry.Paths) == 0 {
		return Route{}, false
	}
	p := entry.Paths[0]
	r := Route{
		ASPath: p.ASPath.String, LocalPref: p.LocalPref, Stale: p.Stale,
		Communities: p.Community.List, LargeCommunities: p.LargeCommunity.List,
	}
	for _, n := range p.NextHops {
		r.NextHops = append(r.NextHops, n.IP)
	}
	slices.Sort(r.NextHops)
	return r, true
}

// Count returns how many prefixes the peers have sent, of both families.
func (f *FRR) Count() int {
	var n int
	for _, family := range []string{"ipv4", "ipv6"} {
		var table struct {
			Peers map[string]struct {
				Received int `json:"pfxRcd"`
			} `json:"peers"`
		}
		if json.Unmarshal([]byte(f.Show("show bgp "+family+" unicast summary json")), &table) == nil {
			for _, p := range table.Peers {
				n += p.Received
			}
		}
	}
	return n
}

// tempDir returns a directory for a user that is not root, which t.TempDir is not.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hl-bgp-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
