// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// Keeper keeps one process running: when it ends, it starts it again.
type Keeper struct {
	name    string
	start   func() (*Child, error)
	options Options
	log     *slog.Logger

	change chan struct{} // capacity 1: wanted or grace have changed

	mu       sync.Mutex // guards everything below
	current  *Child
	wanted   bool
	grace    time.Duration
	restarts int
	inARow   int
	idle     chan struct{} // closed while nothing runs and nothing is wanted
}

// Options adjust a Keeper. The zero value is useful.
type Options struct {
	// Grace is how long the process may take to end when asked; zero kills.
	Grace time.Duration
	// Backoff is the pause before the nth restart in a row, that is, of a process
	// that did not live for ten seconds; nil means none before the first and half a
	// second before each that follows.
	Backoff func(restart int) time.Duration
	// Changed, if set, is called after each start and each end, never
	// concurrently.
	Changed func(Event)
}

// Event is a start (Exit empty) or an end of the process.
type Event struct {
	Child    *Child
	Ended    bool
	Restarts int
	// Backoff is how long the Keeper waits before the next start.
	Backoff time.Duration
	// Err says why the process could not be started.
	Err error
}

// NewKeeper returns a Keeper that runs nothing yet.
func NewKeeper(name string, start func() (*Child, error), log *slog.Logger, options Options) *Keeper {
	if options.Backoff == nil {
		options.Backoff = func(restart int) time.Duration {
			if restart <= 1 {
				return 0
			}
			return 500 * time.Millisecond
		}
	}
	if options.Changed == nil {
		options.Changed = func(Event) {}
	}
	return &Keeper{
		name: name, start: start, options: options, log: log,
		change: make(chan struct{}, 1), wanted: true, grace: options.Grace, idle: make(chan struct{}),
	}
}

// Name returns the name it was given.
func (k *Keeper) Name() string { return k.name }

// Run starts the process, restarts it whenever it ends, and ends it when ctx
// does. It blocks, and returns nil once the process is gone.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		k.mu.Lock()
		wanted := k.wanted
		k.mu.Unlock()
		if !wanted || ctx.Err() != nil {
			k.setIdle(true)
			select {
			case <-ctx.Done():
				return nil
			case <-k.change:
				continue
			}
		}
		k.setIdle(false)
		if err := k.runOnce(ctx); err != nil {
			return err
		}
	}
}

func (k *Keeper) setIdle(idle bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.idle:
		if !idle {
			k.idle = make(chan struct{})
		}
	default:
		if idle {
			close(k.idle)
		}
	}
}

// runOnce starts the process, waits until it ends or is no longer wanted, and
// then waits for the back-off.
func (k *Keeper) runOnce(ctx context.Context) error {
	c, err := k.start()
	if err != nil {
		k.log.Error("start process", "name", k.name, "error", err)
	} else {
		k.setCurrent(c)
		k.options.Changed(Event{Child: c, Restarts: k.Restarts()})
		if stopped, err := k.await(ctx, c); stopped || err != nil {
			k.setCurrent(nil)
			k.options.Changed(Event{Child: c, Ended: true, Restarts: k.Restarts()})
			return err
		}
		k.setCurrent(nil)
	}
	restarts, pause := k.count(c)
	k.options.Changed(Event{Child: c, Ended: true, Restarts: restarts, Backoff: pause, Err: err})
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.change:
	case <-ctx.Done():
	}
	return nil
}

// settled is the age at which a process that ends has not crashed on start.
const settled = 10 * time.Second

// count counts a restart and returns how long to wait before it.
func (k *Keeper) count(c *Child) (restarts int, pause time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c != nil && time.Since(c.Started()) >= settled {
		k.inARow = 0
	}
	k.restarts++
	k.inARow++
	return k.restarts, k.options.Backoff(k.inARow)
}

// await returns when the process has ended, and whether that was on request.
func (k *Keeper) await(ctx context.Context, c *Child) (stopped bool, err error) {
	for {
		select {
		case <-c.Done():
			k.log.Info("process ended", "name", k.name, "state", c.Exit().String())
			return false, nil
		case <-ctx.Done():
			return true, c.Stop(k.options.Grace)
		case <-k.change:
			k.mu.Lock()
			wanted, grace := k.wanted, k.grace
			k.mu.Unlock()
			if !wanted {
				return true, c.Stop(grace)
			}
		}
	}
}

func (k *Keeper) setCurrent(c *Child) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = c
}

// Restarts returns how often the process was started again.
func (k *Keeper) Restarts() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restarts
}

// PID returns the id of the running process, or 0.
func (k *Keeper) PID() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return 0
	}
	return k.current.PID()
}

// Signal sends a signal to the running process.
func (k *Keeper) Signal(sig syscall.Signal) error {
	k.mu.Lock()
	c := k.current
	k.mu.Unlock()
	if c == nil {
		return errors.New("signal " + k.name + ": it is not running")
	}
	return c.Signal(sig)
}

// Hold ends the process and keeps it from being started again. It returns when
// the process is gone; ctx bounds the wait.
func (k *Keeper) Hold(ctx context.Context, grace time.Duration) error {
	k.mu.Lock()
	k.wanted, k.grace = false, grace
	idle := k.idle
	k.mu.Unlock()
	k.ring()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release lets a held process run again.
func (k *Keeper) Release() {
	k.mu.Lock()
	k.wanted = true
	k.mu.Unlock()
	k.ring()
}

func (k *Keeper) ring() {
	select {
	case k.change <- struct{}{}:
	default:
	}
}
