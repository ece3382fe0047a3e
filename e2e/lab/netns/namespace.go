// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where named namespaces are mounted, as for "ip netns".
const Dir = "/run/netns"

// Namespace is a named network namespace. Its methods may be called by several
// goroutines at once.
type Namespace struct {
	name string
	path string
}

// Open returns the namespace of that name, or an error if there is none.
func Open(name string) (*Namespace, error) {
	n := &Namespace{name: name, path: filepath.Join(Dir, name)}
	if _, err := os.Stat(n.path); err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return n, nil
}

// Create makes a namespace with its loopback interface up. It is an error if the
// name is taken. Needs CAP_SYS_ADMIN.
func Create(name string) (*Namespace, error) {
	n := &Namespace{name: name, path: filepath.Join(Dir, name)}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return nil, fmt.Errorf("create network namespace %s: %w", name, err)
	}
	f, err := os.OpenFile(n.path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("create network namespace %s: %w", name, err)
	}
	f.Close()
	if err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", n.path, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", n.path, err)
		}
		return loopbackUp()
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("create network namespace %s: %w", name, err), n.Remove())
	}
	return n, nil
}

// List returns the names of all namespaces that start with prefix.
func List(prefix string) ([]string, error) {
	entries, err := os.ReadDir(Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Name returns the namespace's name, as "ip netns" shows it.
func (n *Namespace) Name() string { return n.name }

// Path returns the file that names the namespace to setns(2).
func (n *Namespace) Path() string { return n.path }

// Remove takes the name away. The kernel frees the namespace, and the links in
// it, once no process is left in it. Removing what is gone is success.
func (n *Namespace) Remove() error {
	if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", n.path, err)
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// Enter calls fn on a thread of its own inside the namespace and returns fn's
// error. Sockets that fn opens stay in the namespace; goroutines that fn starts
// do not run in it.
func (n *Namespace) Enter(fn func() error) error {
	return onThread(func() error {
		if err := n.join(); err != nil {
			return err
		}
		return fn()
	})
}

// Command returns a command that runs inside the namespace, by way of
// nsenter(1), which replaces itself by the program: the process id is the
// program's own.
func (n *Namespace) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.path, "--", program}, args...)...)
}

// join moves the calling thread, which must be locked, into the namespace.
func (n *Namespace) join() error {
	f, err := os.Open(n.path)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", n.name, err)
	}
	return nil
}

// onThread calls fn on a locked thread and takes the thread home to its own
// namespace afterwards. A thread that cannot go home is not given back: the
// goroutine ends while locked, which makes the runtime end the thread.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own network namespace: %w", err)
			return
		}
		defer home.Close()
		err = fn()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// loopbackUp sets lo up in the calling thread's namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("name loopback: %w", err)
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
