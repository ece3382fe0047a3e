// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// multicall is the file name of the one binary; names are what it becomes when
// called by them.
const multicall = "kubernetes"

var names = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"}

// buildFlags leave out what nobody debugs here (symbols and DWARF, which take a
// tenth of the time) and machine paths, so that the result depends on the
// sources alone.
var buildFlags = []string{"-trimpath", "-gcflags=all=-dwarf=false"}

// Cache is where the programs are built and kept.
type Cache struct {
	// Source is the directory of the Go module that builds the programs.
	Source string
	// Dir is the directory that holds one directory for each build.
	Dir string
	// Progress receives a sentence now and then during a build. Nil drops it.
	Progress func(string)
}

// Programs are built programs.
type Programs struct{ dir string }

// Path returns the file to run a program by its name.
func (p Programs) Path(name string) string { return filepath.Join(p.dir, name) }

// Dir returns the directory that holds them all, fit for PATH.
func (p Programs) Dir() string { return p.dir }

// Ensure returns the programs, after building them if no build of these sources
// is in the cache. Two callers at once build once. A build that is interrupted
// leaves nothing that could be taken for a result.
func (c Cache) Ensure(ctx context.Context) (Programs, error) {
	version, key, err := c.key()
	if err != nil {
		return Programs{}, err
	}
	dir := filepath.Join(c.Dir, fmt.Sprintf("kubernetes-%s-%s", version, key))
	p := Programs{dir: dir}
	if p.complete() {
		return p, nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return Programs{}, fmt.Errorf("create cache: %w", err)
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return Programs{}, err
	}
	defer unlock()
	if p.complete() { // another caller was first
		return p, nil
	}
	if err := c.build(ctx, dir, version); err != nil {
		return Programs{}, fmt.Errorf("build Kubernetes %s: %w", version, err)
	}
	return p, nil
}

func (p Programs) complete() bool {
	_, err := os.Stat(filepath.Join(p.dir, multicall))
	return err == nil
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\S+)$`)

// key returns the Kubernetes version and a hash over the module's files, the
// compiler, the platform and the flags.
func (c Cache) key() (version, key string, err error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOARCH, buildFlags)
	for _, file := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(c.Source, file))
		if err != nil {
			return "", "", fmt.Errorf("read the module of the Kubernetes programs: %w", err)
		}
		if m := kubernetesVersion.FindSubmatch(content); file == "go.mod" && m != nil {
			version = string(m[1])
		}
		fmt.Fprintln(hash, file, len(content))
		hash.Write(content)
	}
	if version == "" {
		return "", "", fmt.Errorf("read %s/go.mod: it requires no k8s.io/kubernetes", c.Source)
	}
	return version, hex.EncodeToString(hash.Sum(nil))[:12], nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	return func() { f.Close() }, nil
}

// build fills a directory beside the wanted one and renames it when complete.
func (c Cache) build(ctx context.Context, dir, version string) error {
	work, err := os.MkdirTemp(c.Dir, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	if err := c.compile(ctx, filepath.Join(work, multicall), version); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Symlink(multicall, filepath.Join(work, name)); err != nil {
			return err
		}
	}
	return os.Rename(work, dir)
}

func (c Cache) compile(ctx context.Context, target, version string) error {
	c.say("building Kubernetes %s from source, once; this takes some minutes", version)
	total, err := c.packages(ctx)
	if err != nil {
		return err
	}
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	const stamp = "k8s.io/component-base/version."
	link := fmt.Sprintf("-ldflags=-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s",
		stamp, version, stamp, major, stamp, minor)
	args := append([]string{"build", "-v", link, "-o", target}, buildFlags...)
	cmd := c.goCommand(ctx, append(args, ".")...)
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	complaints := c.follow(output, total)
	if err := cmd.Wait(); err != nil {
		return errors.Join(err, errors.New(complaints))
	}
	return nil
}

// packages counts what there is to compile.
func (c Cache) packages(ctx context.Context) (int, error) {
	cmd := c.goCommand(ctx, "list", "-deps", ".")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return 0, errors.Join(err, errors.New(complaints.String()))
	}
	return bytes.Count(out, []byte("\n")), nil
}

func (c Cache) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = c.Source
	// A caller's flags (-race, -mod) are meant for its own module.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	return cmd
}

// follow reads the build's output, on which each compiled package is a line, and
// reports every few seconds. It returns what else there was.
func (c Cache) follow(output io.Reader, total int) string {
	const every = 5 * time.Second
	var complaints strings.Builder
	next := time.Now().Add(every)
	compiled := 0
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		line := lines.Text()
		if strings.ContainsAny(line, " \t") {
			if !strings.HasPrefix(line, "go: downloading") {
				fmt.Fprintln(&complaints, line)
			}
			continue
		}
		compiled++
		if time.Now().After(next) {
			c.say("building Kubernetes: %d of at most %d packages", compiled, total)
			next = time.Now().Add(every)
		}
	}
	return complaints.String()
}

func (c Cache) say(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// At returns the programs in a directory, each under its own name.
func At(dir string) (Programs, error) {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Programs{}, fmt.Errorf("find Kubernetes program: %w", err)
		}
	}
	return Programs{dir: dir}, nil
}
