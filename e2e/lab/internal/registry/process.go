// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Task is a process that is told apart from a later one of the same number by
// the time it started. The zero value is no process.
type Task struct {
	PID int `json:"pid"`
	// Start is in clock ticks since the machine started (proc(5), field 22 of stat).
	Start uint64 `json:"start"`
}

// Self returns the calling process.
func Self() (Task, error) {
	start, err := startTime(os.Getpid())
	return Task{PID: os.Getpid(), Start: start}, err
}

// Alive says whether that very process still runs.
func (p Task) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// end ends the process: by SIGTERM, and by SIGKILL after the grace period. A
// process that is gone, or whose number is another's now, is left alone.
func (p Task) end(grace time.Duration) error {
	// The descriptor is taken before the start time is compared: from then on it
	// cannot come to mean another process.
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return nil
	}
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, grace}, {unix.SIGKILL, 5 * time.Second}} {
		if step.wait == 0 {
			continue
		}
		if err := unix.PidfdSendSignal(fd, step.signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end process %d: %w", p.PID, err)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} // readable once the process has ended
		if n, err := unix.Poll(poll, int(step.wait.Milliseconds())); err == nil && n > 0 {
			return nil
		}
	}
	return fmt.Errorf("end process %d: it is still there after SIGKILL", p.PID)
}

// startTime reads when a process started. A zombie counts as gone.
func startTime(pid int) (uint64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, fmt.Errorf("read start time: %w", err)
	}
	stat, err := p.Stat()
	if err == nil && stat.State == "Z" {
		err = fs.ErrNotExist
	}
	return stat.Starttime, err
}
