// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/herald-lb/herald/e2e/lab"
)

// controller is a running controller process.
type controller struct {
	cmd    *exec.Cmd
	exited chan error
}

// startController starts a controller as a restarted container would be: under the
// same name, so that it need not wait for the Lease of its predecessor.
func startController(t *testing.T, l *lab.Lab) *controller {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(t.ArtifactDir(), "controller.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join("..", "..", "bin", "controller"),
		"--kubeconfig="+l.Kubeconfig(), "--namespace="+namespace, "--pod-name=controller-0",
		"--port=0", "--health-probe-port=0")
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the controller (make build): %v", err)
	}
	c := &controller{cmd, make(chan error, 1)}
	go func() { c.exited <- cmd.Wait() }()
	return c
}

func (c *controller) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-c.exited; err == nil {
		t.Error("the controller ended by itself, and well, as it was killed")
	}
}

func (c *controller) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-c.exited; err != nil {
		t.Errorf("the controller ended badly: %v", err)
	}
}
