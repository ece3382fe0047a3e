// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module writes a module that looks like the one of Kubernetes and takes no time
// to build.
func module(t *testing.T, program string) Cache {
	t.Helper()
	source := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":   "module x\n\ngo 1.26\n\nrequire (\n\tk8s.io/kubernetes v1.99.4\n)\n\nreplace k8s.io/kubernetes => ./k\n",
		"go.sum":   "",
		"main.go":  program,
		"k/go.mod": "module k8s.io/kubernetes\n",
		"k/k.go":   "package k\n",
	} {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Cache{Source: source, Dir: filepath.Join(t.TempDir(), "cache")}
}

const works = "package main\n\nfunc main() {}\n"

func TestEnsureBuildsOnce(t *testing.T) {
	c := module(t, works)
	var mu sync.Mutex
	var said []string
	c.Progress = func(s string) { mu.Lock(); defer mu.Unlock(); said = append(said, s) }
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			p, err := c.Ensure(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if !strings.Contains(p.Dir(), "kubernetes-v1.99.4-") {
				t.Errorf("directory %s", p.Dir())
			}
			if _, err := At(p.Dir()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(said) != 1 {
		t.Errorf("two callers at once made %d builds: %q", len(said), said)
	}
	if _, err := c.Ensure(t.Context()); err != nil || len(said) != 1 {
		t.Errorf("a third caller: %v, %q", err, said)
	}
}

func TestKeyFollowsTheFiles(t *testing.T) {
	c := module(t, works)
	_, before, err := c.key()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Source, "main.go"), []byte(works+"// changed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	version, after, err := c.key()
	if err != nil || before == after || version != "v1.99.4" {
		t.Errorf("key %s, then %s of %s, %v", before, after, version, err)
	}
}

func TestEnsureLeavesNothingOfAFailure(t *testing.T) {
	c := module(t, "package main\n\nfunc main() { undefined() }\n")
	if _, err := c.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("error %v, want what the compiler says", err)
	}
	left, err := filepath.Glob(filepath.Join(c.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if !strings.HasSuffix(path, ".lock") {
			t.Errorf("left: %s", path)
		}
	}
}

func TestEnsureNeedsTheModule(t *testing.T) {
	c := Cache{Source: t.TempDir(), Dir: t.TempDir()}
	if _, err := c.Ensure(t.Context()); err == nil {
		t.Error("built nothing from nothing")
	}
	if err := os.WriteFile(filepath.Join(c.Source, "go.mod"), []byte("module x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := At(c.Dir); err == nil {
		t.Error("found programs in an empty directory")
	}
}
