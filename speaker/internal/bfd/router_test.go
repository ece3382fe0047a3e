// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

// What FRR and BIRD call themselves on Debian.
const (
	frrDir = "/usr/lib/frr"
	bird   = "/usr/sbin/bird"
)

// router is a namespace that is connected to that of the tests: host0 there with
// odd addresses, eth0 here with even ones.
type router struct {
	*linktest.Namespace
	host   *linktest.Namespace
	dir    string
	daemon *exec.Cmd // the last that was started

	output *bytes.Buffer // of the daemon, to be read when it has ended
	ended  chan struct{}
}

func newRouter(t testing.TB) *router {
	t.Helper()
	r := &router{host: linktest.Host(t), Namespace: linktest.New(t)}
	r.host.Veth(t, "host0", r.Namespace, "eth0")
	r.host.Up(t, "lo")
	r.Up(t, "lo")
	for _, a := range []string{"192.0.2.1/24", "192.0.2.3/24", "2001:db8::1/64", "fe80::1/64"} {
		r.host.AddAddress(t, "host0", a)
	}
	for _, a := range []string{"192.0.2.2/24", "192.0.2.4/24", "2001:db8::2/64", "fe80::2/64"} {
		r.AddAddress(t, "eth0", a)
	}
	var err error
	// A path of a socket has at most 107 bytes: not in the folder of the test.
	if r.dir, err = os.MkdirTemp("", "hl-bfd-"); err != nil { //nolint:usetesting // too long, and closed to the users that daemons become
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(r.dir) })
	return r
}

// start runs a daemon in the namespace until the test ends, however it ends: the
// kernel kills it with the thread that started it.
func (r *router) start(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	output := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Enter(func() error {
			err := cmd.Start()
			started <- err
			if err == nil {
				_ = cmd.Wait()
			}
			return nil
		})
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said: %s", name, output.String())
		}
	})
	r.daemon, r.output, r.ended = cmd, output, ended
	return cmd
}

// frr starts zebra and bfdd with what bfdd is to be configured with.
func frr(t testing.TB, config string) *router {
	t.Helper()
	if _, err := os.Stat(filepath.Join(frrDir, "bfdd")); err != nil {
		t.Skip("needs FRR: make deps installs it")
	}
	r := newRouter(t)
	// What FRR does by default with echo packets, a router does for all.
	r.Sysctl(t, "net/ipv4/ip_forward", "1")
	files := map[string]string{"zebra.conf": "", "bfdd.conf": config, "vtysh.conf": ""}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.giveTo(t, "frr") // the daemons drop root
	for _, daemon := range []string{"zebra", "bfdd"} {
		args := []string{
			"-A", "127.0.0.1", "-P", "0",
			"-z", filepath.Join(r.dir, "zserv"), "--vty_socket", r.dir,
			"-i", filepath.Join(r.dir, daemon+".pid"), "-f", filepath.Join(r.dir, daemon+".conf"),
		}
		if daemon == "bfdd" {
			args = append(args, "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))
		}
		r.start(t, filepath.Join(frrDir, daemon), args...)
		linktest.Await(t, func() bool {
			_, err := os.Stat(filepath.Join(r.dir, daemon+".vty"))
			return err == nil
		}, func() { t.Logf("%s has opened no socket", daemon) })
	}
	return r
}

// giveTo makes a user the owner of the folder and its files.
func (r *router) giveTo(t testing.TB, name string) {
	t.Helper()
	if out, err := exec.Command("chown", "-R", name, r.dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
}

// vtysh runs commands of FRR.
func (r *router) vtysh(t testing.TB, commands ...string) []byte {
	t.Helper()
	args := []string{"--vty_socket", r.dir, "--config_dir", r.dir, "-d", "bfdd"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.Command("vtysh", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("vtysh %s: %v: %s", strings.Join(commands, "; "), err, out)
	}
	return out
}

// frrPeer is a session as FRR shows it.
type frrPeer struct {
	Peer               string `json:"peer"`
	Local              string `json:"local"`
	Status             string `json:"status"`
	Diagnostic         string `json:"diagnostic"`
	RemoteDiagnostic   string `json:"remote-diagnostic"`
	ReceiveInterval    int    `json:"receive-interval"`
	RemoteReceive      int    `json:"remote-receive-interval"`
	RemoteTransmit     int    `json:"remote-transmit-interval"`
	RemoteMultiplier   int    `json:"remote-detect-multiplier"`
	RemoteEchoInterval int    `json:"remote-echo-receive-interval"`
	SessionDown        int    `json:"session-down"`
	EchoInput          int    `json:"echo-packet-input"`
	EchoOutput         int    `json:"echo-packet-output"`
}

// peer returns the session that FRR has with an address of ours.
func (r *router) peer(t testing.TB, address string) frrPeer {
	t.Helper()
	var peers, counters []frrPeer
	for command, into := range map[string]*[]frrPeer{"show bfd peers json": &peers, "show bfd peers counters json": &counters} {
		if out := r.vtysh(t, command); json.Unmarshal(out, into) != nil {
			t.Fatalf("%s: %s", command, out)
		}
	}
	want := netip.MustParseAddr(address)
	for i, p := range peers {
		if a, err := netip.ParseAddr(p.Peer); err != nil || a.WithZone("") != want {
			continue
		}
		for _, c := range counters {
			if c.Peer == p.Peer {
				peers[i].SessionDown, peers[i].EchoInput, peers[i].EchoOutput = c.SessionDown, c.EchoInput, c.EchoOutput
			}
		}
		return peers[i]
	}
	return frrPeer{}
}

// birdRouter starts BIRD with what it is to be configured with.
func birdRouter(t testing.TB, config string) *router {
	t.Helper()
	if _, err := os.Stat(bird); err != nil {
		t.Skip("needs BIRD: make deps installs it")
	}
	r := newRouter(t)
	file := filepath.Join(r.dir, "bird.conf")
	if err := os.WriteFile(file, []byte("router id 192.0.2.2;\nprotocol device {}\n"+config), 0o644); err != nil {
		t.Fatal(err)
	}
	r.start(t, bird, "-f", "-c", file, "-s", filepath.Join(r.dir, "bird.ctl"), "-P", filepath.Join(r.dir, "bird.pid"))
	linktest.Await(t, func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "bird.ctl"))
		return err == nil
	}, func() { t.Log("bird has opened no socket") })
	return r
}

// birdc runs a command of BIRD.
func (r *router) birdc(t testing.TB, command string) string {
	t.Helper()
	out, err := exec.Command("birdc", "-s", filepath.Join(r.dir, "bird.ctl"), command).CombinedOutput()
	if err != nil {
		t.Fatalf("birdc %s: %v: %s", command, err, out)
	}
	return string(out)
}
