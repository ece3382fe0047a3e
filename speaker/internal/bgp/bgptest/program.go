// SPDX-License-Identifier: Apache-2.0

package bgptest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// program is a daemon in a namespace. It is killed with its test, or with the process.
type program struct {
	name     string
	cmd      *exec.Cmd
	lifeline io.Closer
	output   bytes.Buffer
}

// keeper kills its program when its own standard input ends, which it does when the
// test process ends, however that ends. FRR becomes another user, and with that loses
// the signal that the kernel would send.
const keeper = `"$@" </dev/null & read -r _; kill -9 $!; wait`

// start starts a program in the namespace. Its output is logged if the test fails.
func start(t testing.TB, ns *linktest.Namespace, name string, args ...string) *program {
	t.Helper()
	p := &program{name: name}
	var net *os.File
	err := ns.Enter(func() (err error) {
		net, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = net.Close() }()
	p.cmd = exec.Command("sh", append([]string{"-c", keeper, "sh", "nsenter", "--net=/proc/self/fd/3", name}, args...)...) //nolint:gosec // the tests say what
	p.cmd.ExtraFiles = []*os.File{net}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if p.lifeline, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && p.output.Len() > 0 {
			t.Logf("%s said:\n%s", name, p.output.String())
		}
	})
	return p
}

// kill ends the program at once, as a crash would.
func (p *program) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.lifeline.Close()
		_ = p.cmd.Wait()
	}
}

// need skips the test if a program is not installed.
func need(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skipf("needs %s", n)
		}
	}
}

// run runs a program that ends, and returns its output, or nothing if it has failed.
func run(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output() //nolint:gosec // the tests say what
	if err != nil {
		return ""
	}
	return string(out)
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
