// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/lab/internal/binaries"
	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/internal/registry"
)

// Environment variables that change where things are found.
const (
	// EnvKubernetes names a directory with etcd, kube-apiserver,
	// kube-controller-manager, kube-proxy and kubectl, to be used instead of
	// building them.
	EnvKubernetes = "HERALD_KUBERNETES"
	// EnvCache names the directory that built programs are kept in; by default
	// the user's cache directory.
	EnvCache = "HERALD_CACHE"
)

// Options say what lab to start. The zero value of each field is useful, except
// that Topology or NodesOff must be set.
type Options struct {
	// Topology is the path of a containerlab file. A relative path is looked for in
	// the working directory, then in the source tree.
	Topology string
	// NodesOff starts the control plane alone: no nodes, no pods, for tests of the
	// API. Topology must be empty.
	NodesOff bool
	// Name tells the lab from others on the machine: at most 12 lower-case letters
	// and digits. Empty makes one up, so that tests never collide.
	Name string
	// Dir receives logs and data, and is kept by Close. Empty means a directory
	// below /run that Close removes.
	Dir string
	// Log receives what the lab does. Nil drops it.
	Log *slog.Logger
	// Progress receives a sentence at each long step. Nil drops it.
	Progress func(string)
	// Root is the source tree. Empty looks for it from the working directory and
	// from the program's own upwards.
	Root string
	// Controller and Speaker are the binaries that images of these names stand for.
	// Empty means bin/controller and bin/speaker of the source tree.
	Controller, Speaker string
	// Pod is the binary that runs each container: the lab's own, or the one built
	// from cmd/pod. Empty builds the latter.
	Pod string
	// Backoff is the longest pause before a container that has ended starts again: 0.2 s
	// the first time, then twice as much each time. Zero means 5 s.
	Backoff time.Duration
	// APIServerArgs are appended to kube-apiserver's flags.
	APIServerArgs []string
}

// complete fills in what was left empty and checks the rest.
func (o Options) complete() (Options, error) {
	if (o.Topology == "") != o.NodesOff {
		return o, errors.New("start lab: set either Topology or NodesOff")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Backoff == 0 {
		o.Backoff = 5 * time.Second
	}
	if o.Name == "" {
		var random [4]byte
		if _, err := rand.Read(random[:]); err != nil {
			return o, fmt.Errorf("choose name of lab: %w", err)
		}
		o.Name = "t" + hex.EncodeToString(random[:])
	}
	if o.Root == "" {
		root, err := findRoot()
		if err != nil {
			return o, err
		}
		o.Root = root
	}
	if o.Controller == "" {
		o.Controller = filepath.Join(o.Root, "bin", "controller")
	}
	if o.Speaker == "" {
		o.Speaker = filepath.Join(o.Root, "bin", "speaker")
	}
	return o, nil
}

// findRoot returns the source tree that holds the working directory or the
// program's own file.
func findRoot() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, kubernetesModule, "go.mod")); err == nil {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("find Herald's source tree: neither the working directory nor the program is in it")
}

// kubernetesModule is the directory of the module that builds Kubernetes.
const kubernetesModule = "e2e/lab/kubernetes"

func (o Options) topology() (*clab.Topology, error) {
	if o.NodesOff {
		return clab.ControlPlaneOnly(o.Name), nil
	}
	path := o.Topology
	if _, err := os.Stat(path); err != nil && !filepath.IsAbs(path) {
		path = filepath.Join(o.Root, path)
	}
	return clab.Load(path)
}

// programs returns the Kubernetes programs, building them if need be.
func (o Options) programs(ctx context.Context) (binaries.Programs, error) {
	if dir := os.Getenv(EnvKubernetes); dir != "" {
		return binaries.At(dir)
	}
	cache := os.Getenv(EnvCache)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return binaries.Programs{}, fmt.Errorf("find cache directory (set %s): %w", EnvCache, err)
		}
		cache = filepath.Join(user, "herald")
	}
	return binaries.Cache{Source: filepath.Join(o.Root, kubernetesModule), Dir: cache, Progress: o.Progress}.Ensure(ctx)
}

// EnsureKubernetes builds the Kubernetes programs into the cache if they are not
// there, and returns the directory that holds them.
func EnsureKubernetes(ctx context.Context, progress func(string)) (string, error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	p, err := Options{Root: root, Progress: progress}.programs(ctx)
	return p.Dir(), err
}

// podBinary returns the binary that runs containers.
func (o Options) podBinary(ctx context.Context, dir string) (string, error) {
	if o.Pod != "" {
		return o.Pod, nil
	}
	path := filepath.Join(dir, "pod")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./e2e/lab/cmd/pod")
	cmd.Dir = o.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program that runs pods: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return path, nil
}

// checkMachine says what is missing on this machine, in one line.
func checkMachine() error {
	if os.Geteuid() != 0 {
		return errors.New("the lab needs root: it creates network namespaces")
	}
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the lab needs the program %s (Debian package %s)", program, pkg)
		}
	}
	return nil
}

// registryDir is where the labs of this machine are written down.
const registryDir = registry.Dir
