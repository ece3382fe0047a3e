// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// A Task is a part of the process that runs as long as the process does.
//
// Run blocks until ctx ends, then finishes what it has to finish and returns.
// What it returns after that counts as an error unless it is nil or ctx's own.
type Task struct {
	Name string // for logs and errors: "metrics server"
	Run  func(ctx context.Context) error
}

// stopTimeout bounds the stop of one task. It is longer than any handover is
// meant to take and shorter than the termination grace period of the manifests.
const stopTimeout = 8 * time.Second

var (
	// errEnded is what a task is charged with that returned nil while it was
	// still wanted: a process with a part missing must not look healthy.
	errEnded = errors.New("ended although nobody asked it to")
	// errStuck is what a task is charged with that does not stop.
	errStuck = fmt.Errorf("has not stopped within %s", stopTimeout)
)

// Tasks runs all tasks until ctx ends or one of them returns, then stops the
// rest and returns when all have ended.
//
// The order of tasks is the order of dependence. They start in that order
// without waiting for each other, and stop in reverse order, each only after
// the one behind it has ended. What a task uses therefore outlives it: a loop
// that withdraws on its way out still has the sockets it withdraws through.
//
// The error is that of the first task that failed, and names it; later ones are
// logged. It is nil if ctx ended and every task then stopped without an error.
// A task that does not stop within 8 s is left behind, still running, and is an
// error: the process is meant to exit after Tasks.
func Tasks(ctx context.Context, log *slog.Logger, tasks ...Task) error {
	ended := make(chan struct{}, len(tasks))
	running := make([]*runningTask, 0, len(tasks))
	for _, task := range tasks {
		running = append(running, start(ctx, task, ended))
	}
	select {
	case <-ctx.Done():
		log.Info("stopping", lb.LogKeyReason, context.Cause(ctx))
	case <-ended:
	}
	// First those that ended by themselves: they are the cause, what follows
	// may be a consequence.
	failures := unasked(running)
	for _, task := range slices.Backward(running) {
		if err := task.stop(); err != nil && !task.unasked {
			failures = append(failures, err)
		}
	}
	if len(failures) == 0 {
		return nil
	}
	for _, err := range failures[1:] {
		log.Error("task failed too", lb.LogKeyError, err)
	}
	return failures[0]
}

// unasked marks the tasks that have ended before they were told to and returns
// their errors.
func unasked(tasks []*runningTask) []error {
	var failures []error
	for _, task := range tasks {
		select {
		case <-task.done:
			if task.err != nil {
				task.unasked = true
				failures = append(failures, task.err)
			}
		default:
		}
	}
	return failures
}

// runningTask is a started task. err may be read once done is closed.
type runningTask struct {
	name    string
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
	unasked bool
}

// start runs the task in a goroutine that ends with it. Its context carries the
// values of ctx but not its end: stop decides about that.
func start(ctx context.Context, task Task, ended chan<- struct{}) *runningTask {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &runningTask{name: task.Name, cancel: cancel, done: make(chan struct{})}
	go func() {
		err := task.Run(own)
		switch {
		case own.Err() == nil && err == nil:
			err = errEnded
		case own.Err() != nil && errors.Is(err, own.Err()):
			err = nil
		}
		if err != nil {
			r.err = fmt.Errorf("%s: %w", r.name, err)
		}
		close(r.done)
		ended <- struct{}{}
	}()
	return r
}

// stop ends the task and waits for it, but not for ever.
func (r *runningTask) stop() error {
	r.cancel()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-r.done:
		return r.err
	case <-timeout.C:
		return fmt.Errorf("%s: %w", r.name, errStuck)
	}
}

// SignalContext returns a context that ends with SIGTERM (the kubelet) or SIGINT
// (a terminal). After stop, and after the first signal, a second one kills the
// process as if nobody had listened.
func SignalContext(parent context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(parent, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// ExitCode logs why the process ends, if that is an error, and returns the code
// to exit with.
func ExitCode(log *slog.Logger, err error) int {
	if err != nil {
		log.Error("exiting", lb.LogKeyError, err)
		return ExitFailure
	}
	return ExitOK
}
