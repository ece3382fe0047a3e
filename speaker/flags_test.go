// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/run"
	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/gossip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parse returns the flags, or what was written about them.
func parse(environment map[string]string, args ...string) (f *flags, stderr string, code int) {
	f = newFlags(func(name string) (string, bool) { v, ok := environment[name]; return v, ok })
	var errs strings.Builder
	code, _ = f.Parse(args, io.Discard, &errs)
	return f, errs.String(), code
}

func TestFlags(t *testing.T) {
	f, stderr, code := parse(map[string]string{
		"METALLB_NAMESPACE": "system", "METALLB_NODE_NAME": "a", "METALLB_POD_NAME": "speaker-x", "METALLB_POD_UID": "1-2",
		"METALLB_ML_BIND_ADDR": "192.0.2.1", "METALLB_ML_BIND_PORT": "7000", "METALLB_ML_SECRET_KEY_PATH": "/etc/secret",
		"METALLB_HOST": "ignored", "METALLB_BGP_TYPE": "frr-k8s",
	}, "--lb-class=example.org/x", "--ignore-exclude-lb", "--ml-profile=safe",
		"--host=x", "--ml-labels=app=metallb", "--frrk8s-secret-passthrough", "--bgp-debounce-timeout=3000", "--frrk8s-namespace=x")
	if code != run.ExitOK {
		t.Fatal(stderr)
	}
	want := gossip.Config{Node: "a", Bind: netip.MustParseAddr("192.0.2.1"), Port: 7000, SecretDir: "/etc/secret", Profile: gossip.Safe}
	if f.gossip != want {
		t.Errorf("gossip = %+v, want %+v", f.gossip, want)
	}
	owner := announce.StatusOwner{Node: "a", Namespace: "system", PodName: "speaker-x", PodUID: "1-2"}
	if diff := cmp.Diff(owner, f.statusOwner()); diff != "" {
		t.Errorf("owner of statuses (-want +got):\n%s", diff)
	}
	if f.class != "example.org/x" || !f.ignoreExclude || f.exclusions != exclusionsFile {
		t.Errorf("class %q, ignore %t, exclusions %q", f.class, f.ignoreExclude, f.exclusions)
	}
	if n := len(f.IgnoredFlags()); n != 5 {
		t.Errorf("%d flags are ignored, want 5: %v", n, f.IgnoredFlags())
	}
}

func TestGossipIsOffWithoutAddress(t *testing.T) {
	f, stderr, code := parse(nil, "--node-name=a", "--namespace=system", "--ml-wan-config")
	if code != run.ExitOK {
		t.Fatal(stderr)
	}
	if f.gossip.Bind.IsValid() || f.gossip.Profile != gossip.WAN || f.gossip.Port != gossipPort {
		t.Errorf("gossip = %+v", f.gossip)
	}
	if m, err := newSpeakers(f, nil, slog.New(slog.DiscardHandler), nil); m != nil || err != nil {
		t.Errorf("members %v, %v, want none", m, err)
	}
}

// What decides who owns an address is MetalLB's choice unless somebody says otherwise.
func TestOwnershipFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args     []string
		failback announce.Failback
		ignore   bool
		drain    lb.DrainMark
	}{
		"default": {},
		"given": {
			[]string{"--l2-failback=never", "--l2-ignore-subnets", "--drain-taint=example.org/a", "--drain-annotation=example.org/b"},
			announce.Never, true,
			lb.DrainMark{Taint: "example.org/a", Annotation: "example.org/b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, stderr, code := parse(nil, append(tt.args, "--node-name=a", "--namespace=system")...)
			if code != run.ExitOK {
				t.Fatal(stderr)
			}
			if f.failback != tt.failback || f.ignoreSubnets != tt.ignore || f.drain != tt.drain {
				t.Errorf("failback %s, ignore subnets %t, drain %+v", &f.failback, f.ignoreSubnets, f.drain)
			}
		})
	}
}

// A wrong flag is one line that names it, and exit code 2.
func TestWrongFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no node":      {[]string{"--namespace=x"}, "METALLB_NODE_NAME"},
		"no address":   {[]string{"--namespace=x", "--node-name=a", "--ml-bindaddr=host.example"}, "--ml-bindaddr"},
		"watch":        {[]string{"--namespace=x", "--node-name=a", "--watch-interval=1ms"}, "--watch-interval"},
		"watch port 0": {[]string{"--namespace=x", "--node-name=a", "--watch-port=0"}, "--watch-port"},
		"port 0":       {[]string{"--namespace=x", "--node-name=a", "--ml-bindaddr=192.0.2.1", "--ml-bindport=0"}, "--ml-bindport"},
		"port":         {[]string{"--ml-bindport=70000"}, "ml-bindport"},
		"profile":      {[]string{"--ml-profile=faster"}, "want fast, safe or wan"},
		"failback":     {[]string{"--l2-failback=later"}, "want immediate or never"},
		"unknown flag": {[]string{"--bgp"}, "bgp"},
		"argument":     {[]string{"--namespace=x", "--node-name=a", "now"}, "now"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := parse(nil, tt.args...)
			if code != run.ExitUsage || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, %q; want %d and one line with %q", code, stderr, run.ExitUsage, tt.want)
			}
		})
	}
}

const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
`

// All parts fit together, metrics included; gossip is the last task to start, and so
// the first to stop.
func TestAssemble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	f, stderr, code := parse(nil, "--kubeconfig="+path, "--namespace=system", "--node-name=a", "--ml-bindaddr=127.0.0.1",
		"--exclude-interfaces-file="+path+".absent")
	if code != run.ExitOK {
		t.Fatal(stderr)
	}
	tasks, err := assemble(f, newBeginning(false), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, task := range tasks {
		names = append(names, task.Name)
	}
	want := []string{
		"health server", "metrics server", "services", "endpoint slices", "nodes", "address pools", "advertisements",
		"statuses of this node", "peers", "BGP advertisements", "BFD profiles", "communities", "secrets", "BGP statuses of this node",
		"contest records of all nodes",
		"links", "layer2", "contests", "contest records", "bgp", "bfd", "guards", "events", "statuses", "bgp statuses", "configuration state",
		"sessions", "exclusions", "beginning",
		"watch", "vigil", "self-check", "connections", "announcements",
		"bgp farewell", "gossip",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

func TestAssembleReportsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"kubeconfig":   {"--kubeconfig=" + path + ".absent"},
		"exclusions":   {"--kubeconfig=" + path, "--exclude-interfaces-file=" + dir},
		"bind address": {"--kubeconfig=" + path, "--ml-bindaddr=::"},
	} {
		f, stderr, code := parse(nil, append(args, "--namespace=system", "--node-name=a")...)
		if code != run.ExitOK {
			t.Fatal(stderr)
		}
		if _, err := assemble(f, newBeginning(false), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
