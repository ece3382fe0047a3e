// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errBroken = errors.New("broken")

// journal records what tasks do, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// worker runs until it is stopped, and takes a while to stop.
func (j *journal) worker(name string) Task {
	return Task{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		j.add(name + " stopping")
		time.Sleep(time.Second)
		j.add(name + " stopped")
		return ctx.Err()
	}}
}

func fails(name string, after time.Duration, err error) Task {
	return Task{Name: name, Run: func(context.Context) error {
		time.Sleep(after)
		return err
	}}
}

func TestTasksStopInReverseOrderOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		if err := Tasks(ctx, discard(), j.worker("a"), j.worker("b"), j.worker("c")); err != nil {
			t.Errorf("Tasks() = %v, want nil", err)
		}
		want := []string{"c stopping", "c stopped", "b stopping", "b stopped", "a stopping", "a stopped"}
		if diff := cmp.Diff(want, j.lines); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestOneFailureStopsAllAndIsNamed(t *testing.T) {
	tests := []struct {
		name string
		task Task
		want error
	}{
		{"error", fails("gossip", time.Minute, errBroken), errBroken},
		{"error at once", fails("gossip", 0, errBroken), errBroken},
		{"nil too early", fails("gossip", time.Minute, nil), errEnded},
		{"a context error of its own", fails("gossip", time.Minute, context.DeadlineExceeded), context.DeadlineExceeded},
		{"cancelled by itself", fails("gossip", time.Minute, context.Canceled), context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				err := Tasks(t.Context(), discard(), j.worker("a"), tt.task, j.worker("c"))
				if !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "gossip: ") {
					t.Errorf("Tasks() = %v, want gossip: %v", err, tt.want)
				}
				if want := []string{"c stopping", "c stopped", "a stopping", "a stopped"}; !slices.Equal(j.lines, want) {
					t.Errorf("journal %v, want %v", j.lines, want)
				}
			})
		})
	}
}

func TestTheCauseIsReportedBeforeItsConsequences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		consequence := Task{Name: "loop", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("withdraw: socket closed")
		}}
		err := Tasks(t.Context(), discard(), fails("socket", time.Second, errBroken), consequence)
		if !errors.Is(err, errBroken) {
			t.Errorf("Tasks() = %v, want %v", err, errBroken)
		}
	})
}

func TestErrorWhileStoppingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := Tasks(ctx, discard(), Task{Name: "lease", Run: func(ctx context.Context) error {
			<-ctx.Done()
			return errBroken
		}})
		if !errors.Is(err, errBroken) {
			t.Errorf("Tasks() = %v, want %v", err, errBroken)
		}
	})
}

func TestStuckTaskIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		stuck := Task{Name: "stuck", Run: func(context.Context) error {
			<-release
			return nil
		}}
		var j journal
		start := time.Now()
		err := Tasks(t.Context(), discard(), j.worker("a"), stuck, fails("c", 0, errBroken))
		if !errors.Is(err, errBroken) {
			t.Errorf("Tasks() = %v, want the first failure", err)
		}
		if got, want := time.Since(start), stopTimeout+time.Second; got != want {
			t.Errorf("took %s, want %s", got, want)
		}
		if want := []string{"a stopping", "a stopped"}; !slices.Equal(j.lines, want) {
			t.Errorf("journal %v, want %v", j.lines, want)
		}
	})
}

func TestTaskKeepsValuesOfTheContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, 7))
	err := Tasks(ctx, discard(), Task{Name: "a", Run: func(own context.Context) error {
		if own.Value(key{}) != 7 {
			return errBroken
		}
		cancel()
		<-own.Done()
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestSignalEndsTheContext(t *testing.T) {
	ctx, stop := SignalContext(context.Background())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("SIGTERM did not end the context")
	}
}

func TestExitCode(t *testing.T) {
	if got := ExitCode(discard(), nil); got != ExitOK {
		t.Errorf("ExitCode(nil) = %d", got)
	}
	if got := ExitCode(discard(), errBroken); got != ExitFailure {
		t.Errorf("ExitCode(error) = %d", got)
	}
}
