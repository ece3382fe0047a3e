// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// cli builds the lab's command line.
func cli(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	path := filepath.Join(t.TempDir(), "lab")
	if out, err := exec.Command("go", "build", "-o", path, "./cmd/lab").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
}

func TestWrongUsageIsOneLineAndExit2(t *testing.T) {
	run := cli(t)
	for _, args := range [][]string{
		{"frobnicate"},
		{"up", "-frobnicate"},
		{"up", "and", "more"},
		{"down", "one", "two"},
		{"exec"},
		{"lose", "one"},
		{"list", "-name"},
	} {
		out, err := run(args...)
		code := -1
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it bare
			code = exit.ExitCode()
		}
		if code != 2 || strings.Count(out, "\n") != 0 || !strings.HasPrefix(out, "lab: ") {
			t.Errorf("lab %s: exit %d and %q, want exit 2 and one line", strings.Join(args, " "), code, out)
		}
	}
}

// TestDownAfterCrash kills the program that runs a lab, and takes down what is
// left.
func TestDownAfterCrash(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the lab creates network namespaces")
	}
	run := cli(t)
	name := fmt.Sprintf("c%d", os.Getpid())
	t.Cleanup(func() { _, _ = run("down", name) }) // only of use if the test fails
	if out, err := run("up", "-name", name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	find := func() (lab.Summary, bool) {
		labs, err := lab.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range labs {
			if l.Name == name {
				return l, true
			}
		}
		return lab.Summary{}, false
	}
	l, ok := find()
	if !ok || !l.Alive || !l.Ready {
		t.Fatalf("lab is listed as %+v", l)
	}
	if out, err := run("exec", "-name", name, "client1", "--", "sh", "-c", "echo out; exit 7"); out != "out" || err == nil || err.Error() != "exit status 7" {
		t.Errorf("exec: %q, %v; want the command's output and status", out, err)
	}
	// A process of ours that the lab did not start but that is in its namespace.
	host, err := lab.OpenHost(name, "client1")
	if err != nil {
		t.Fatal(err)
	}
	stray := host.Command(context.Background(), "sleep", "600")
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	program, err := os.FindProcess(l.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t.Context(), t, func() error {
		if l, _ := find(); l.Alive {
			return fmt.Errorf("process %d is still alive", l.PID)
		}
		return nil
	})
	if out, err := run("down", name); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := stray.Wait(); err == nil {
		t.Error("a process in the lab's namespace ended by itself, and not by lab down")
	}
	if _, ok := find(); ok {
		t.Error("the lab is still listed")
	}
	assertGone(t, name, l.Dir)
}

// TestControlPlaneOnly is what tests of the API use.
func TestControlPlaneOnly(t *testing.T) {
	ctx, l := start(t, lab.Options{NodesOff: true})
	other, err := lab.Start(ctx, lab.Options{NodesOff: true}) // two at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	if l.RESTConfig().Host == other.RESTConfig().Host {
		t.Errorf("two labs are both at %s", l.RESTConfig().Host)
	}
	for _, l := range []*lab.Lab{l, other} {
		if err := l.Apply(ctx, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n"); err != nil {
			t.Fatal(err)
		}
		nodes, err := l.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil || len(nodes.Items) != 0 {
			t.Errorf("it has %d nodes, %v", len(nodes.Items), err)
		}
	}
	if _, err := lab.Start(ctx, lab.Options{NodesOff: true, Name: l.Name()}); err == nil || !strings.Contains(err.Error(), "already up") {
		t.Errorf("a second lab of one name: %v", err)
	}
}

func TestOptionsThatContradict(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, which is checked first")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for want, o := range map[string]lab.Options{
		"Topology or NodesOff": {},
		"at most 12":           {NodesOff: true, Name: "Too-Long-And-Wrong"},
		"read topology":        {Topology: "e2e/topologies/none.clab.yml"},
	} {
		l, err := lab.Start(ctx, o)
		if err == nil {
			err = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one that contains %q", o, err, want)
		}
	}
}
