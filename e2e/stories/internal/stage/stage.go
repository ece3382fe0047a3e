// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/lab"
)

// Namespace is where Herald is installed.
const Namespace = "metallb-system"

// installLimit bounds each rollout.
const installLimit = "90s"

// Stage is a lab with Herald in it. Its methods may be called by several goroutines at
// once.
type Stage struct {
	Lab *lab.Lab
	// root is the source tree.
	root string
}

// Open starts a lab of a topology, a file name in e2e/topologies. Herald's programs are
// those in bin/, or in the folder that HERALD_BIN names; [Stage.Install] installs them.
func Open(ctx context.Context, topology string) (*Stage, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	controller, err := Program("controller")
	if err != nil {
		return nil, err
	}
	speaker, err := Program("speaker")
	if err != nil {
		return nil, err
	}
	l, err := lab.Start(ctx, lab.Options{
		Topology: filepath.Join(root, "e2e", "topologies", topology), Controller: controller, Speaker: speaker,
		Progress: func(what string) { fmt.Fprintln(os.Stderr, "lab:", what) },
	})
	if err != nil {
		return nil, err
	}
	return &Stage{Lab: l, root: root}, nil
}

// findRoot looks for the source tree from the working directory upwards.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "config", "default")); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("find the source tree: it is not above %s", dir)
}

// Program returns the path of one of Herald's programs.
func Program(name string) (string, error) {
	dir := os.Getenv("HERALD_BIN")
	if dir == "" {
		root, err := findRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "bin")
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("find %s (make build makes it; HERALD_BIN names another folder): %w", name, err)
	}
	return path, nil
}

// Install applies config/default and returns when all of it is ready.
func (s *Stage) Install(ctx context.Context) error {
	if _, err := s.Lab.Kubectl(ctx, "apply", "-k", filepath.Join(s.root, "config", "default")); err != nil {
		return fmt.Errorf("install Herald: %w", err)
	}
	for _, workload := range []string{"deployment/controller", "daemonset/speaker"} {
		if _, err := s.Lab.Kubectl(ctx, "-n", Namespace, "rollout", "status", workload, "--timeout="+installLimit); err != nil {
			return fmt.Errorf("install Herald: %w", err)
		}
	}
	return nil
}

// Close ends the lab. The error tells of programs of Herald's that have crashed in it, too.
func (s *Stage) Close() error { return errors.Join(s.crashes(), s.Lab.Close()) }

// crashes returns an error for each log of Herald's that tells of a panic or, if it was
// built to look for them, of a data race.
func (s *Stage) crashes() error {
	var all []error
	for _, path := range s.Logs() {
		raw, err := os.ReadFile(path)
		if err != nil {
			all = append(all, err)
			continue
		}
		for _, word := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
			if i := strings.Index(string(raw), word); i >= 0 {
				all = append(all, fmt.Errorf("%s: %s", filepath.Base(path), raw[i:min(len(raw), i+4000)]))
			}
		}
	}
	return errors.Join(all...)
}

// Logs returns the files that Herald's processes have written to.
func (s *Stage) Logs() []string {
	paths, _ := filepath.Glob(filepath.Join(s.Lab.Dir(), "logs", "pods", Namespace+"_*.log")) // the pattern is good
	return paths
}

// LastLines returns the end of a file.
func LastLines(path string, n int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(raw), "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// pace is how often Await looks.
const pace = 20 * time.Millisecond

// Await returns when the condition has no error any more. Its error is that of the limit,
// and the condition's last.
func Await(ctx context.Context, limit time.Duration, what string, condition func() error) error {
	if err := await.Until(ctx, limit, pace, condition); err != nil {
		return fmt.Errorf("waited %v for %s: %w", limit, what, err)
	}
	return nil
}
