// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func create(t *testing.T, name string) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it creates network namespaces")
	}
	n, err := Create(fmt.Sprintf("hl-n%d-%s", os.Getpid(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func interfaces(t *testing.T) []string {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(list))
	for i, ifi := range list {
		names[i] = ifi.Name + " " + ifi.Flags.String()
	}
	return names
}

func TestEnterAndComeHome(t *testing.T) {
	n := create(t, "a")
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // often enough to meet the main thread
		if err := n.Enter(func() error {
			inside, err := os.Readlink("/proc/thread-self/ns/net")
			if err == nil && inside == home {
				err = errors.New("the function runs outside")
			}
			if names := interfaces(t); len(names) != 1 || !strings.HasPrefix(names[0], "lo up") {
				t.Errorf("inside are %v, want lo alone, and up", names)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if now, err := os.Readlink("/proc/self/ns/net"); err != nil || now != home {
			t.Fatalf("the program has moved to %s, %v", now, err)
		}
	}
	want := errors.New("mine")
	if err := n.Enter(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("error %v, want the function's", err)
	}
}

func TestDialListenCommand(t *testing.T) {
	a, b := create(t, "a"), create(t, "b")
	l, err := a.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := a.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if conn, err := b.Dial(t.Context(), "tcp", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("one namespace's listener is reached from another")
	}
	p, err := a.ListenPacket(t.Context(), "udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	out, err := a.Command(t.Context(), "cat", "/proc/self/net/dev").Output()
	if err != nil || strings.Count(string(out), ":") != 1 {
		t.Errorf("a command sees %q, %v; want lo alone", out, err)
	}
}

func TestSpawner(t *testing.T) {
	n := create(t, "a")
	home, _ := os.Readlink("/proc/self/ns/net")
	for range 20 {
		s, err := NewSpawner(n)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("readlink", "/proc/self/ns/net")
		var out strings.Builder
		cmd.Stdout = &out
		if err := s.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || strings.TrimSpace(out.String()) == home {
			t.Errorf("the process ran in %s, %v", out.String(), err)
		}
		if now, _ := os.Readlink("/proc/self/ns/net"); now != home {
			t.Fatal("the program has moved")
		}
		s.Close()
		s.Close() // twice is once
	}
	gone := &Namespace{name: "x", path: "/nonexistent"}
	if _, err := NewSpawner(gone); err == nil {
		t.Error("a spawner in a namespace that does not exist")
	}
}

func TestCreateTwiceAndRemoveTwice(t *testing.T) {
	n := create(t, "a")
	if _, err := Create(n.Name()); err == nil {
		t.Error("one name was given twice")
	}
	if _, err := Open(n.Name()); err != nil {
		t.Errorf("after a failed Create: %v", err)
	}
	for range 2 {
		if err := n.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(n.Name()); err == nil {
		t.Error("opened what was removed")
	}
	if names, err := List(n.Name()); err != nil || len(names) != 0 {
		t.Errorf("listed %v, %v", names, err)
	}
}
