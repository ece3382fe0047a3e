// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Starter starts commands in some place; a netns.Spawner is one.
type Starter interface {
	Start(cmd *exec.Cmd) error
}

// Child is a running or ended process. Its methods may be called by several
// goroutines at once.
type Child struct {
	cmd     *exec.Cmd
	log     *os.File
	started time.Time
	done    chan struct{}
	err     error // written before done is closed
}

// Start starts the command with its output appended to the file at logPath, and
// with a kernel's promise that it dies when the starter's thread does.
func Start(s Starter, cmd *exec.Cmd, logPath string) (*Child, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // a terminal's interrupt is for the lab alone
	if err := s.Start(cmd); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	c := &Child{cmd: cmd, log: log, started: time.Now(), done: make(chan struct{})}
	go c.wait()
	return c, nil
}

func (c *Child) wait() {
	c.err = c.cmd.Wait()
	c.log.Close()
	close(c.done)
}

// PID returns the process id. It may be another's once Done is closed.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Started returns when the process was started.
func (c *Child) Started() time.Time { return c.started }

// Done is closed when the process has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Exit returns how the process ended; only valid after Done.
func (c *Child) Exit() *os.ProcessState { return c.cmd.ProcessState }

// Signal sends a signal. A process that has ended gets none, which is success.
func (c *Child) Signal(sig syscall.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", sig, c.PID(), err)
	}
	return nil
}

// Stop asks the process to end, insists after the grace period, and returns when
// it has ended. A zero grace does not ask. A paused process is continued, for it
// could not hear the question.
func (c *Child) Stop(grace time.Duration) error {
	if grace > 0 {
		if err := c.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := c.Signal(syscall.SIGCONT); err != nil {
			return err
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.done:
			return nil
		case <-timer.C:
		}
	}
	if err := c.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-c.done
	return nil
}
