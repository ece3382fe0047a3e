// SPDX-License-Identifier: Apache-2.0

package bgptest

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// BIRD is BIRD 2.
type BIRD struct {
	ns   *linktest.Namespace
	dir  string
	bird *program
}

// NewBIRD starts BIRD in the namespace.
func NewBIRD(t testing.TB, ns *linktest.Namespace, c Config) Router {
	t.Helper()
	need(t, "nsenter", "bird", "birdc")
	b := &BIRD{ns: ns, dir: tempDir(t)}
	write(t, b.dir, "bird.conf", c.bird())
	b.Start(t)
	return b
}

// Start starts it again after Kill.
func (b *BIRD) Start(t testing.TB) {
	t.Helper()
	b.bird = start(t, b.ns, "bird", "-f", "-c", filepath.Join(b.dir, "bird.conf"), "-s", filepath.Join(b.dir, "bird.ctl"))
	linktest.Await(t, func() bool { return b.Show("show status") != "" }, func() { t.Log("BIRD does not answer") })
}

// Kill ends it as a crash would.
func (b *BIRD) Kill() { b.bird.kill() }

// Show returns what birdc says to a command, and nothing if it has failed.
func (b *BIRD) Show(command string) string {
	return run("birdc", append([]string{"-r", "-s", filepath.Join(b.dir, "bird.ctl")}, strings.Fields(command)...)...)
}

// birdTuple is a community as birdc writes it: (64500,7), or (1, 2, 3).
var birdTuple = regexp.MustCompile(`\(([0-9, ]+)\)`)

// Route returns the best route to a prefix, and whether there is one.
func (b *BIRD) Route(prefix string) (Route, bool) {
	out := b.Show("show route all primary for " + prefix)
	if !strings.Contains(out, prefix+" ") {
		return Route{}, false
	}
	var r Route
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		switch key {
		case "BGP.as_path":
			r.ASPath = value
		case "BGP.local_pref":
			n, _ := strconv.ParseUint(value, 10, 32)
			r.LocalPref = uint32(n)
		case "BGP.next_hop":
			r.NextHops = strings.Fields(value)
			slices.Sort(r.NextHops)
		case "BGP.community":
			r.Communities = birdCommunities(value)
		case "BGP.large_community":
			r.LargeCommunities = birdCommunities(value)
		}
	}
	return r, true
}

func birdCommunities(value string) []string {
	var list []string
	for _, m := range birdTuple.FindAllStringSubmatch(value, -1) {
		list = append(list, strings.NewReplacer(" ", "", ",", ":").Replace(m[1]))
	}
	return list
}

var birdImported = regexp.MustCompile(`(?m)^\s+Routes:\s+(\d+) imported`)

// Count returns how many routes of both families the router has from its neighbors.
func (b *BIRD) Count() int {
	var n int
	for _, m := range birdImported.FindAllStringSubmatch(b.Show("show protocols all"), -1) {
		k, _ := strconv.Atoi(m[1])
		n += k
	}
	// The static routes are of protocols too.
	for _, m := range birdStatic.FindAllStringSubmatch(b.Show("show protocols all"), -1) {
		k, _ := strconv.Atoi(m[1])
		n -= k
	}
	return n
}

var birdStatic = regexp.MustCompile(`(?ms)^own\d.*?Routes:\s+(\d+) imported`)
