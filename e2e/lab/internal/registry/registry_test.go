// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab/netns"
)

func open(t *testing.T) *Registry {
	t.Helper()
	r, err := Open(filepath.Join(t.TempDir(), "labs"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sleeper starts a process that ends with the test.
func sleeper(t *testing.T, cmd *exec.Cmd) Task {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(waited) }() // killed, one way or the other
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-waited })
	start, err := startTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return Task{PID: cmd.Process.Pid, Start: start}
}

func TestClaim(t *testing.T) {
	r := open(t)
	for _, name := range []string{"", "Big", "with-hyphen", "fourteenletter", "../x"} {
		if _, err := r.Claim(name, "", ""); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	a, err := r.Claim("a", "top", "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Claim("b", "top", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if a.HostNet.Overlaps(b.HostNet) || a.HostNet.Bits() != 30 {
		t.Errorf("networks %s and %s", a.HostNet, b.HostNet)
	}
	if _, err := r.Claim("a", "", ""); err == nil || !strings.Contains(err.Error(), "already up") {
		t.Errorf("claimed a living lab's name: %v", err)
	}
	if err := r.Forget(a); err != nil {
		t.Fatal(err)
	}
	again, err := r.Claim("a", "", "")
	if err != nil || again.HostNet != a.HostNet {
		t.Errorf("after it was forgotten: %+v, %v", again, err)
	}
	records, err := r.List()
	if err != nil || len(records) != 2 || records[0].Name != "a" || records[1].Name != "b" {
		t.Errorf("list: %+v, %v", records, err)
	}
	if _, err := r.Get("none"); err == nil {
		t.Error("found a lab that is not there")
	}
}

// TestClaimRemovesTheDead covers a lab whose program has died, and one whose
// number is another process's by now, which must live.
func TestClaimRemovesTheDead(t *testing.T) {
	r := open(t)
	bystander := sleeper(t, exec.Command("sleep", "600"))
	for name, program := range map[string]Task{
		"dead":   {PID: 1 << 30},
		"reused": {PID: bystander.PID, Start: bystander.Start - 1},
		"never":  {},
	} {
		if err := r.Write(Record{Name: name, Program: program, Dir: filepath.Join(r.dir, name)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(r.dir, "unwritten"), 0o755); err != nil { // crashed before its first record
		t.Fatal(err)
	}
	if _, err := r.Claim("new", "", ""); err != nil {
		t.Fatal(err)
	}
	records, err := r.List()
	if err != nil || len(records) != 1 || records[0].Name != "new" {
		t.Errorf("list: %+v, %v", records, err)
	}
	if !bystander.Alive() {
		t.Error("a process that has nothing to do with the lab was ended")
	}
}

func TestEnd(t *testing.T) {
	deaf := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 0.05; done`)
	out, err := deaf.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	task := sleeper(t, deaf)
	if _, err := out.Read(make([]byte, 10)); err != nil { // the trap is set
		t.Fatal(err)
	}
	stranger := Task{PID: task.PID, Start: task.Start + 1}
	if err := stranger.end(time.Second); err != nil || !task.Alive() {
		t.Errorf("a process of another start time: %v, alive %t", err, task.Alive())
	}
	if err := task.end(50 * time.Millisecond); err != nil || task.Alive() {
		t.Errorf("a process that ignores SIGTERM: %v, alive %t", err, task.Alive())
	}
	if err := task.end(time.Second); err != nil {
		t.Errorf("a process that is gone: %v", err)
	}
}

func TestSelf(t *testing.T) {
	self, err := Self()
	if err != nil || !self.Alive() || self.PID != os.Getpid() {
		t.Errorf("self: %+v, %v", self, err)
	}
	if (Task{}).Alive() {
		t.Error("no process is alive")
	}
}

func TestFreeNetwork(t *testing.T) {
	first, err := freeNetwork(nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := freeNetwork(map[netip.Prefix]bool{first: true})
	if err != nil || second == first || second.Overlaps(first) {
		t.Errorf("%s, then %s, %v", first, second, err)
	}
}

func TestNameFor(t *testing.T) {
	for text, want := range map[string]string{"l2": "l2", "Leaf-Spine_BGP.v2": "leafspinebgp", "...": ""} {
		if got := NameFor(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestClean ends what is in a lab's namespaces and nothing else.
func TestClean(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it creates network namespaces")
	}
	prefix := fmt.Sprintf("hl-r%d-", os.Getpid())
	var spaces []*netns.Namespace
	for _, name := range []string{"a", "b"} {
		ns, err := netns.Create(prefix + name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ns.Remove() }) // only of use if the test fails
		spaces = append(spaces, ns)
	}
	outside := sleeper(t, exec.Command("sleep", "600"))
	inside := sleeper(t, spaces[0].Command(t.Context(), "sleep", "600"))
	// nsenter is in the namespace only once it has become sleep.
	awaitNamespace(t, inside.PID, spaces[0].Path())
	if err := Clean(prefix); err != nil {
		t.Fatal(err)
	}
	if inside.Alive() || !outside.Alive() {
		t.Errorf("inside lives: %t, outside lives: %t", inside.Alive(), outside.Alive())
	}
	if left, err := netns.List(prefix); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := Clean(prefix); err != nil { // nothing is left to do
		t.Error(err)
	}
}

func awaitNamespace(t *testing.T, pid int, path string) {
	t.Helper()
	want, err := identify(path)
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range 1000 {
		if got, err := identify(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && got == want {
			return
		}
		<-ticker.C
	}
	t.Fatal("the process never entered the namespace")
}
