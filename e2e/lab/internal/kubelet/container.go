// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/lab/internal/child"
	"github.com/herald-lb/herald/e2e/lab/internal/container"
)

// Container is a running container, for those who want to break it.
type Container struct {
	runner *runner
	spec   corev1.Container
	start  container.Spec
	keeper *child.Keeper
	// restarted wakes each of the probes, capacity 1.
	restarted [3]chan struct{}

	mu      sync.Mutex // guards everything below
	event   child.Event
	started bool // the startup probe has succeeded
	ready   bool // the readiness probe has succeeded
	last    *corev1.ContainerStateTerminated
}

// PID returns the id of its process, or 0.
func (c *Container) PID() int { return c.keeper.PID() }

// Signal sends its process a signal.
func (c *Container) Signal(sig syscall.Signal) error { return c.keeper.Signal(sig) }

// Restarts returns how often its process was started again.
func (c *Container) Restarts() int { return c.keeper.Restarts() }

// Pod returns the name of its pod.
func (c *Container) Pod() string { return c.runner.pod.Name }

// Name returns the pod's and the container's name.
func (c *Container) Name() string {
	return c.runner.pod.Namespace + "/" + c.runner.pod.Name + "/" + c.spec.Name
}

// LogPath returns the file that a container's output goes to. It stays when the
// pod goes.
func LogPath(dir, namespace, pod, container string) string {
	return filepath.Join(dir, "logs", "pods", namespace+"_"+pod+"_"+container+".log")
}

// makeContainers works out what to start. It starts nothing.
func (r *runner) makeContainers() error {
	if n := len(r.pod.Spec.InitContainers); n > 0 {
		return fmt.Errorf("start pod: it has %d init containers, which the lab does not run", n)
	}
	var made []*Container
	for _, spec := range r.pod.Spec.Containers {
		start, err := r.containerSpec(spec)
		if err != nil {
			return fmt.Errorf("container %s: %w", spec.Name, err)
		}
		c := &Container{runner: r, spec: spec, start: start}
		for i := range c.restarted {
			c.restarted[i] = make(chan struct{}, 1)
		}
		c.keeper = child.NewKeeper(c.Name(), c.launch, r.log, child.Options{
			Backoff: r.kubelet.config.pause,
			Changed: c.changed,
		})
		made = append(made, c)
	}
	r.kubelet.mu.Lock()
	r.mu.Lock()
	r.containers = made
	r.mu.Unlock()
	r.kubelet.mu.Unlock()
	return nil
}

// pause is what comes before the nth restart in a row. It is gentler than the real
// kubelet's 10 s, doubling to five minutes: what a story waits for is the program.
func (c *Config) pause(restart int) time.Duration {
	const first = 200 * time.Millisecond
	return min(first<<min(restart-1, 10), c.Backoff)
}

func (c *Container) launch() (*child.Child, error) {
	r := c.runner
	cmd, err := container.Command(c.start, r.kubelet.config.Shim, r.kubelet.config.ShimArgs...)
	if err != nil {
		return nil, err
	}
	logPath := LogPath(r.kubelet.config.Dir, r.pod.Namespace, r.pod.Name, c.spec.Name)
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return nil, err
	}
	return child.Start(r.spawner, cmd, logPath)
}

// run keeps the container running, and its probes going, until ctx ends; then it
// gives the process the pod's grace.
func (c *Container) run(ctx context.Context) {
	// The keeper's own context ends only after the grace has been applied.
	kept, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.keeper.Run(kept); err != nil {
			c.runner.log.Error("keep container", "container", c.spec.Name, "error", err)
		}
	})
	wg.Go(func() { c.probe(ctx) })
	<-ctx.Done()
	if err := c.keeper.Hold(kept, c.runner.graceNow(ctx)); err != nil {
		c.runner.log.Error("end container", "container", c.spec.Name, "error", err)
	}
	release()
	wg.Wait()
}

// graceNow is how long a container may take to end. When the lab goes away, it
// gets what its manifest says, for leaving well is part of what is tested.
func (r *runner) graceNow(ctx context.Context) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return r.grace
	}
	const most = 5 * time.Second
	if s := r.pod.Spec.TerminationGracePeriodSeconds; s != nil && !errors.Is(context.Cause(ctx), errAbandoned) {
		return min(time.Duration(*s)*time.Second, most)
	}
	return 0
}

// changed records a start or an end for the status.
func (c *Container) changed(e child.Event) {
	c.mu.Lock()
	c.event = e
	if e.Ended {
		c.started, c.ready = false, false
		if e.Child != nil {
			c.last = terminated(e.Child)
		}
	}
	c.mu.Unlock()
	for _, bell := range c.restarted {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
	c.runner.ring()
}

// containerSpec translates a manifest's container.
func (r *runner) containerSpec(spec corev1.Container) (container.Spec, error) {
	program, entry, err := r.kubelet.program(spec)
	if err != nil {
		return container.Spec{}, err
	}
	env, err := r.environment(spec)
	if err != nil {
		return container.Spec{}, err
	}
	s := container.Spec{
		Root:         filepath.Join(r.dir, "root-"+spec.Name),
		Program:      program.Path,
		Entry:        entry,
		Args:         append([]string{}, program.Args...),
		Env:          env.list(),
		Hostname:     r.pod.Name,
		Capabilities: container.DefaultCapabilities(),
	}
	if r.pod.Spec.HostNetwork {
		s.Hostname = r.node.Name
	}
	for _, arg := range append(rest(spec.Command), spec.Args...) {
		s.Args = append(s.Args, env.expand(arg))
	}
	for _, m := range spec.VolumeMounts {
		if m.SubPath != "" || m.SubPathExpr != "" {
			return container.Spec{}, fmt.Errorf("mount %s: the lab does not support sub-paths", m.Name)
		}
		s.Mounts = append(s.Mounts, container.Mount{
			Source: r.volumeDir(m.Name), Target: m.MountPath, ReadOnly: m.ReadOnly,
		})
	}
	r.applySecurity(&s, spec.SecurityContext)
	if s.UID == 0 && r.mustNotBeRoot(spec.SecurityContext) {
		return container.Spec{}, errors.New("it has runAsNonRoot and would run as root")
	}
	return s, nil
}

func rest(command []string) []string {
	if len(command) == 0 {
		return nil
	}
	return append([]string{}, command[1:]...)
}

// program returns what to run for a container, and where in its file system an
// image would have it. The command's name decides, else the image's.
func (k *Kubelet) program(spec corev1.Container) (p Program, entry string, err error) {
	name := imageName(spec.Image)
	if len(spec.Command) > 0 {
		name = path.Base(spec.Command[0])
	}
	p, ok := k.config.Programs[name]
	if !ok {
		return p, "", fmt.Errorf("image %s: the lab has no program %q", spec.Image, name)
	}
	if p.Path == "" {
		return p, "", fmt.Errorf("image %s: the lab was not told where the program %q is", spec.Image, name)
	}
	if len(spec.Command) > 0 && path.IsAbs(spec.Command[0]) {
		return p, spec.Command[0], nil
	}
	return p, "/" + name, nil
}

// imageName returns an image's name without registry, tag, digest and the
// project's name.
func imageName(image string) string {
	name := path.Base(image)
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	return strings.TrimPrefix(name, "herald-")
}

// applySecurity applies the pod's and the container's security context.
func (r *runner) applySecurity(s *container.Spec, c *corev1.SecurityContext) {
	if p := r.pod.Spec.SecurityContext; p != nil {
		setInt(&s.UID, p.RunAsUser)
		setInt(&s.GID, p.RunAsGroup)
	}
	if c == nil {
		return
	}
	setInt(&s.UID, c.RunAsUser)
	setInt(&s.GID, c.RunAsGroup)
	if c.ReadOnlyRootFilesystem != nil {
		s.ReadOnly = *c.ReadOnlyRootFilesystem
	}
	if c.AllowPrivilegeEscalation != nil {
		s.NoNewPrivileges = !*c.AllowPrivilegeEscalation
	}
	if c.Privileged != nil && *c.Privileged {
		s.Capabilities = container.AllCapabilities()
	}
	if c.Capabilities == nil {
		return
	}
	s.Capabilities = container.Restrict(s.Capabilities, texts(c.Capabilities.Drop), texts(c.Capabilities.Add))
}

func (r *runner) mustNotBeRoot(c *corev1.SecurityContext) bool {
	if c != nil && c.RunAsNonRoot != nil {
		return *c.RunAsNonRoot
	}
	p := r.pod.Spec.SecurityContext
	return p != nil && isTrue(p.RunAsNonRoot)
}

func setInt(target *int, value *int64) {
	if value != nil {
		*target = int(*value)
	}
}

func texts(list []corev1.Capability) []string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = string(c)
	}
	return out
}
