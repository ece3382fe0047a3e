// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab/netns"
)

// fixture keeps a shell script running.
type fixture struct {
	keeper *Keeper
	events chan Event
	log    string
}

func keep(t *testing.T, script string, o Options) *fixture {
	t.Helper()
	spawner, err := netns.NewSpawner(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(spawner.Close)
	f := &fixture{events: make(chan Event, 100), log: filepath.Join(t.TempDir(), "log")}
	o.Changed = func(e Event) { f.events <- e }
	f.keeper = NewKeeper("script", func() (*Child, error) {
		return Start(spawner, exec.Command("sh", "-c", script), f.log)
	}, slog.New(slog.DiscardHandler), o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.keeper.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) next(t *testing.T) Event {
	t.Helper()
	select {
	case e := <-f.events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happens to the process")
		return Event{}
	}
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestKeeperRestarts(t *testing.T) {
	f := keep(t, "echo line; exec sleep 600", Options{})
	first := f.next(t)
	if err := f.keeper.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end, second := f.next(t), f.next(t)
	if first.Ended || !end.Ended || end.Restarts != 1 || second.Ended || second.Child.PID() == first.Child.PID() {
		t.Errorf("events %+v, %+v, %+v; want start, end, start of another", first, end, second)
	}
	if f.keeper.PID() != second.Child.PID() || f.keeper.Restarts() != 1 {
		t.Errorf("process %d after %d restarts, want %d after 1", f.keeper.PID(), f.keeper.Restarts(), second.Child.PID())
	}
}

func TestKeeperHoldsAndReleases(t *testing.T) {
	f := keep(t, "exec sleep 600", Options{})
	pid := f.next(t).Child.PID()
	if err := f.keeper.Hold(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if alive(pid) || f.keeper.PID() != 0 {
		t.Errorf("a held process lives: %d", pid)
	}
	if !f.next(t).Ended {
		t.Error("no event says that it ended")
	}
	if err := f.keeper.Hold(t.Context(), 0); err != nil { // again is nothing
		t.Fatal(err)
	}
	if err := f.keeper.Signal(syscall.SIGCONT); err == nil {
		t.Error("a signal to nothing is no error")
	}
	f.keeper.Release()
	if e := f.next(t); e.Ended || e.Restarts != 0 {
		t.Errorf("event %+v, want a start that counts as no restart", e)
	}
}

func TestKeeperBacksOff(t *testing.T) {
	var asked []int
	f := keep(t, "exit 3", Options{Backoff: func(n int) time.Duration {
		asked = append(asked, n)
		if n == 3 {
			return time.Hour
		}
		return 0
	}})
	var last Event
	for range 6 { // three starts, three ends
		last = f.next(t)
	}
	if fmt.Sprint(asked) != "[1 2 3]" || last.Backoff != time.Hour || last.Child.Exit().ExitCode() != 3 {
		t.Errorf("asked %v; last event %+v, exit %v", asked, last, last.Child.Exit())
	}
	// Hold must not wait for the hour.
	if err := f.keeper.Hold(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

func TestKeeperReportsWhatCannotStart(t *testing.T) {
	events := make(chan Event, 10)
	k := NewKeeper("none", func() (*Child, error) { return nil, os.ErrNotExist }, slog.New(slog.DiscardHandler), Options{
		Backoff: func(int) time.Duration { return time.Hour },
		Changed: func(e Event) { events <- e },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	if e := <-events; e.Err == nil || !e.Ended {
		t.Errorf("event %+v, want an error", e)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStopAsksFirst(t *testing.T) {
	for _, c := range []struct {
		name, script string
		grace        time.Duration
		pause        bool
		want         string
	}{
		{"it listens", `trap "echo bye; exit" TERM; echo ready; while :; do sleep 0.05; done`, 10 * time.Second, false, "ready\nbye\n"},
		{"it is paused", `trap "echo bye; exit" TERM; echo ready; while :; do sleep 0.05; done`, 10 * time.Second, true, "ready\nbye\n"},
		{"it does not listen", `trap "" TERM; echo ready; while :; do sleep 0.05; done`, 100 * time.Millisecond, false, "ready\n"},
		{"it is not asked", `trap "echo bye; exit" TERM; echo ready; while :; do sleep 0.05; done`, 0, false, "ready\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spawner, err := netns.NewSpawner(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer spawner.Close()
			log := filepath.Join(t.TempDir(), "log")
			child, err := Start(spawner, exec.Command("sh", "-c", c.script), log)
			if err != nil {
				t.Fatal(err)
			}
			awaitLog(t, log, "ready\n")
			if c.pause {
				if err := child.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			if err := child.Stop(c.grace); err != nil {
				t.Fatal(err)
			}
			select {
			case <-child.Done():
			default:
				t.Error("Stop returned before the end")
			}
			awaitLog(t, log, c.want)
			if err := child.Signal(syscall.SIGTERM); err != nil {
				t.Errorf("a signal to the dead: %v", err)
			}
		})
	}
}

func awaitLog(t *testing.T, path, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		content, err := os.ReadFile(path)
		if err == nil && string(content) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log is %q, %v; want %q", content, err, want)
		}
		<-ticker.C
	}
}

// TestChildDiesWithItsStarter shows what leaves no orphans behind.
func TestChildDiesWithItsStarter(t *testing.T) {
	spawner, err := netns.NewSpawner(nil)
	if err != nil {
		t.Fatal(err)
	}
	child, err := Start(spawner, exec.Command("sleep", "600"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	spawner.Close()
	select {
	case <-child.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the process outlives the thread that started it")
	}
	if !strings.Contains(child.Exit().String(), "killed") {
		t.Errorf("it ended with %s, want killed", child.Exit())
	}
	if err := spawner.Start(exec.Command("true")); err == nil {
		t.Error("a closed spawner starts processes")
	}
}
