// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/herald-lb/herald/e2e/lab/internal/child"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// programDir is where Debian's package frr puts its daemons.
const programDir = "/usr/lib/frr"

// Config says what router to run. All fields are required.
type Config struct {
	Name  string
	Netns *netns.Namespace
	// Files are what to show in /etc/frr: file names to paths on the machine.
	Files map[string]string
	// Dir is a directory of the router's own; LogDir receives the daemons' logs.
	Dir, LogDir string
	// Shim is a program that calls Hold when its arguments are Word, the router's
	// name and a directory.
	Shim, Word string
	Log        *slog.Logger
}

// Router is FRR in a namespace.
type Router struct {
	config  Config
	spawner *netns.Spawner
	holder  *child.Child
	keepers map[string]*child.Keeper
	reload  chan struct{} // capacity 1: a daemon has been started

	mu     sync.Mutex // guards loaded
	loaded error      // why the configuration could not be loaded, or nil
	ready  chan struct{}
}

// New prepares a router: its files and its namespaces, which a process holds
// until Close. No daemon is started.
func New(ctx context.Context, c Config) (*Router, error) {
	if _, err := os.Stat(filepath.Join(programDir, "zebra")); err != nil {
		return nil, fmt.Errorf("router %s: the lab runs Debian's FRR: install the package frr: %w", c.Name, err)
	}
	etc := filepath.Join(c.Dir, "etc")
	daemons, err := copyFiles(etc, c.Files)
	if err != nil {
		return nil, fmt.Errorf("router %s: %w", c.Name, err)
	}
	r := &Router{config: c, keepers: map[string]*child.Keeper{}, reload: make(chan struct{}, 1), ready: make(chan struct{})}
	if r.spawner, err = netns.NewSpawner(c.Netns); err != nil {
		return nil, err
	}
	log := filepath.Join(c.LogDir, "router-"+c.Name+".log")
	if r.holder, err = child.Start(r.spawner, holdCommand(c.Shim, c.Word, c.Name, etc), log); err != nil {
		r.spawner.Close()
		return nil, fmt.Errorf("router %s: %w", c.Name, err)
	}
	if err := r.awaitFile(ctx, filepath.Join("run", readyFile)); err != nil {
		r.Close()
		return nil, fmt.Errorf("router %s: prepare its files (see %s): %w", c.Name, log, err)
	}
	for _, d := range daemons {
		r.keepers[d.name] = r.keeper(d)
	}
	return r, nil
}

// copyFiles fills the directory that is shown as /etc/frr, and reads from it
// which daemons to run.
func copyFiles(etc string, files map[string]string) ([]daemon, error) {
	uid, gid, err := frrUser()
	if err != nil {
		return nil, err
	}
	contents := map[string][]byte{
		"vtysh.conf": []byte("service integrated-vtysh-config\n"),
		"frr.conf":   nil,
		"daemons":    nil,
	}
	for name, source := range files {
		if contents[name], err = os.ReadFile(source); err != nil {
			return nil, fmt.Errorf("read file of router: %w", err)
		}
	}
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return nil, err
	}
	for name, content := range contents {
		path := filepath.Join(etc, name)
		if err := errors.Join(os.WriteFile(path, content, 0o640), os.Chown(path, uid, gid)); err != nil {
			return nil, err
		}
	}
	return parseDaemons(string(contents["daemons"]))
}

// NsenterFlags are the flags that take nsenter(1) into the router's namespaces,
// except that of the network.
func (r *Router) NsenterFlags() []string {
	pid := r.holder.PID()
	return []string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", pid), fmt.Sprintf("--uts=/proc/%d/ns/uts", pid)}
}

// Keeper returns what keeps a daemon running, or nil.
func (r *Router) Keeper(name string) *child.Keeper { return r.keepers[name] }

// Daemons returns the names of all daemons, sorted.
func (r *Router) Daemons() []string { return slices.Sorted(maps.Keys(r.keepers)) }

func (r *Router) keeper(d daemon) *child.Keeper {
	log := filepath.Join(r.config.LogDir, r.config.Name+"-"+d.name+".log")
	start := func() (*child.Child, error) {
		cmd := r.command(context.Background(), filepath.Join(programDir, d.name), append(d.options, "--log", "stdout")...)
		return child.Start(r.spawner, cmd, log)
	}
	return child.NewKeeper(r.config.Name+"/"+d.name, start, r.config.Log, child.Options{
		Grace: time.Second,
		Changed: func(e child.Event) {
			if e.Ended {
				// Its socket would pass for the next one's.
				_ = os.Remove(r.inside("run", "frr", d.name+".vty")) // absent if it never was ready
				return
			}
			select {
			case r.reload <- struct{}{}:
			default:
			}
		},
	})
}

// inside returns the path, from outside, of a file in the router's own root.
func (r *Router) inside(elements ...string) string {
	return filepath.Join(append([]string{fmt.Sprintf("/proc/%d/root", r.holder.PID())}, elements...)...)
}

// command returns a command that runs among the router's own files. It must be
// started in the router's network namespace.
func (r *Router) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	words := append(r.NsenterFlags(), "--", program)
	return exec.CommandContext(ctx, "nsenter", append(words, args...)...)
}

// Run runs all daemons until ctx ends.
func (r *Router) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, k := range r.keepers {
		group.Go(func() error { return k.Run(ctx) })
	}
	group.Go(func() error { r.load(ctx); return nil })
	return group.Wait()
}

// load gives the daemons frr.conf, again after each start of one: a daemon that
// was restarted has forgotten it.
func (r *Router) load(ctx context.Context) {
	var once sync.Once
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.reload:
		}
		err := r.loadOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.config.Log.Error("load configuration of router", "router", r.config.Name, "error", err)
		}
		r.mu.Lock()
		r.loaded = err
		r.mu.Unlock()
		once.Do(func() { close(r.ready) })
	}
}

func (r *Router) loadOnce(ctx context.Context) error {
	for name := range r.keepers {
		if err := r.awaitFile(ctx, filepath.Join("run", "frr", name+".vty")); err != nil {
			return fmt.Errorf("wait for %s: %w", name, err)
		}
	}
	cmd := r.config.Netns.Command(ctx, "nsenter", append(r.NsenterFlags(), "--", "vtysh", "-b")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("vtysh -b: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// WaitReady waits until the daemons have their configuration.
func (r *Router) WaitReady(ctx context.Context) error {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return fmt.Errorf("wait for router %s: %w", r.config.Name, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded != nil {
		return fmt.Errorf("router %s: %w", r.config.Name, r.loaded)
	}
	return nil
}

// Close ends the namespaces, after Run.
func (r *Router) Close() {
	_ = r.holder.Stop(0) // it dies with the spawner's thread anyway
	r.spawner.Close()
}

// awaitFile waits until a file exists in the router's own root.
func (r *Router) awaitFile(ctx context.Context, path string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := os.Stat(r.inside(path))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.holder.Done():
			return errors.New("the process that holds the router's files has ended")
		case <-ticker.C:
		}
	}
}
