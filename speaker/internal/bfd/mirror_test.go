// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// withMirror returns a router that runs the other end of one session, and the
// path to it. Under setpriv, that end has no capability but CAP_NET_RAW.
func withMirror(t *testing.T) (*router, Path) {
	t.Helper()
	r := newRouter(t)
	r.host.AddAddress(t, "host0", benchLocal.String()+"/16")
	r.AddAddress(t, "eth0", benchPeer(0).String()+"/16")
	t.Setenv(mirrorOf, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv of util-linux")
	}
	r.start(t, setpriv, "--bounding-set", "-all,+net_raw", "--inh-caps", "-all", self)
	return r, Path{Peer: benchPeer(0)}
}

func TestNeedsNoCapabilityButNetRaw(t *testing.T) {
	r, p := withMirror(t)
	n := newNode(t)
	n.set(t, p, every(steady))
	n.await(t, p, Up)
	// It takes its leave when it is asked to end.
	_ = r.daemon.Process.Signal(os.Interrupt)
	if c := n.await(t, p, Down); c.Failure() {
		t.Errorf("got %+v, want no failure", c)
	}
	<-r.ended
	if said := r.output.String(); said != "" {
		t.Errorf("the other end complains: %s", said)
	}
}

// Whoever was stopped finds out by itself, and so do we about it.
func TestStoppedAndContinued(t *testing.T) {
	r, p := withMirror(t)
	n := newNode(t)
	n.set(t, p, every(steady))
	n.await(t, p, Up)
	n.calm(t, p)
	_ = r.daemon.Process.Signal(syscall.SIGSTOP)
	if c := n.await(t, p, Down); !c.Failure() || c.SelfLate != 0 {
		t.Errorf("got %+v, want a failure that is not ours", c)
	}
	_ = r.daemon.Process.Signal(syscall.SIGCONT)
	n.await(t, p, Up)
}

// An interface that is replaced by another of its name has another number.
func TestInterfaceIsReplaced(t *testing.T) {
	r, p := withMirror(t)
	p.Interface = "host0"
	n := newNode(t)
	n.set(t, p, every(steady))
	n.await(t, p, Up)
	old := r.host.Index(t, "host0")
	r.host.Delete(t, "host0")
	n.await(t, p, Down)
	r.host.Veth(t, "host0", r.Namespace, "eth0")
	if r.host.Index(t, "host0") == old {
		t.Fatal("the new interface has the number of the old one")
	}
	r.host.AddAddress(t, "host0", benchLocal.String()+"/16")
	r.AddAddress(t, "eth0", benchPeer(0).String()+"/16")
	begin := time.Now()
	n.await(t, p, Up)
	t.Logf("up again after %s", time.Since(begin).Round(time.Millisecond))
}
