// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Spawner starts processes inside one namespace from a thread that lives until
// Close. A process started with SysProcAttr.Pdeathsig gets its signal when the
// thread that started it ends, which makes an ordinary goroutine's thread the
// wrong one to start it from: this one ends with Close, or with the program.
type Spawner struct {
	starts chan start
	close  sync.Once
	done   chan struct{}
}

type start struct {
	cmd *exec.Cmd
	err chan error
}

// NewSpawner returns a Spawner for n; nil means the namespace of the caller. The
// error is that of entering the namespace.
func NewSpawner(n *Namespace) (*Spawner, error) {
	s := &Spawner{starts: make(chan start), done: make(chan struct{})}
	entered := make(chan error, 1)
	go s.run(n, entered)
	if err := <-entered; err != nil {
		return nil, err
	}
	return s, nil
}

// Start calls cmd.Start inside the namespace. After Close it returns
// os.ErrClosed.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	req := start{cmd: cmd, err: make(chan error, 1)}
	select {
	case s.starts <- req:
		return <-req.err
	case <-s.done:
		return os.ErrClosed
	}
}

// Close ends the thread. Processes started with Pdeathsig get their signal now.
func (s *Spawner) Close() { s.close.Do(func() { close(s.done) }) }

func (s *Spawner) run(n *Namespace, entered chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread gives the program its face in /proc/PID/ns: it must not
		// move. While it is held here, another goroutine gets another thread.
		defer runtime.UnlockOSThread()
		again := make(chan error)
		go s.run(n, again)
		entered <- <-again
		return
	}
	// Never unlocked from here on: the thread must not outlive its namespace.
	if n != nil {
		if err := n.join(); err != nil {
			entered <- err
			return
		}
	}
	entered <- nil
	for {
		select {
		case req := <-s.starts:
			req.err <- req.cmd.Start()
		case <-s.done:
			return
		}
	}
}
