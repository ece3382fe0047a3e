// SPDX-License-Identifier: Apache-2.0

package bgptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// WatchDeletedRoutes watches the kernel's routes. The function it returns says which
// have been deleted since.
func WatchDeletedRoutes(t testing.TB, ns *linktest.Namespace) func() []string {
	t.Helper()
	file := filepath.Join(tempDir(t), "routes")
	start(t, ns, "sh", "-c", "exec ip -4 monitor route > "+file)
	linktest.Await(t, func() bool { return exists(file) }, func() { t.Log("ip monitor does not start") })
	return func() []string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var deleted []string
		for line := range strings.Lines(string(text)) {
			if route, ok := strings.CutPrefix(line, "Deleted "); ok {
				deleted = append(deleted, strings.TrimSpace(route))
			}
		}
		return deleted
	}
}

// CountKernelRoutes counts the routes below a prefix in the kernel's table.
func CountKernelRoutes(t testing.TB, ns *linktest.Namespace, below string) int {
	t.Helper()
	var out []byte
	err := ns.Enter(func() (err error) {
		out, err = exec.Command("ip", "-4", "route", "show", "root", below).Output() //nolint:gosec // a prefix
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "\n")
}
