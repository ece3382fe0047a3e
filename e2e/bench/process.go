// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// statOf returns what the kernel says about a process (proc_pid_stat(5)).
func statOf(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// memory returns the resident set of a process now and at its peak, in megabytes
// of a million bytes.
func memory(pid int) (now, peak float64, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, err
	}
	status, err := p.NewStatus()
	return float64(status.VmRSS) / 1e6, float64(status.VmHWM) / 1e6, err
}

// cpuTime returns the processor time that the threads of a process have used, finer
// than cpuSeconds does. What threads used that have ended is not in it.
func cpuTime(pid int) (time.Duration, error) {
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return 0, fmt.Errorf("read processor time of process %d: %w", pid, err)
	}
	var total time.Duration
	for _, t := range threads {
		s, err := t.Schedstat()
		if err != nil {
			return 0, fmt.Errorf("read processor time of process %d: %w", pid, err)
		}
		total += time.Duration(s.RunningNanoseconds)
	}
	return total, nil
}

// cpuSeconds returns the processor time a process has used.
func cpuSeconds(pid int) (float64, error) {
	s, err := statOf(pid)
	if err != nil {
		return 0, fmt.Errorf("read processor time of process %d: %w", pid, err)
	}
	return s.CPUTime(), nil
}

// startOf returns when a process was started, to a hundredth of a second.
func startOf(pid int) (time.Time, error) {
	s, err := statOf(pid)
	if err != nil {
		return time.Time{}, fmt.Errorf("read start of process %d: %w", pid, err)
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	const tick = time.Second / 100 // USER_HZ is 100 on every Linux architecture Go supports
	return time.Now().Add(time.Duration(s.Starttime)*tick - time.Duration(up.Nano())), nil
}
