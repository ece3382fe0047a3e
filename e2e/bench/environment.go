// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/lab"
)

// The one node and the one client of bench.clab.yml, and the interface of each.
const (
	nodeName   = "k8s-worker"
	clientName = "client1"
	linkName   = "eth1"
)

// What bench.clab.yml calls their addresses.
var (
	nodeAddress    = netip.MustParseAddr("10.200.255.1")
	nodeAddress6   = netip.MustParseAddr("2001:db8:2::11")
	clientAddress  = netip.MustParseAddr("10.200.255.2")
	clientAddress6 = netip.MustParseAddr("2001:db8:2::101")
)

// namespace is where Herald's own objects live.
const namespace = "metallb-system"

// small is a number of Services that every cluster can have.
const small = 1000

// large is the number of Services that the promises about size are made for.
const large = 10_000

// huge is the number up to which nothing may become slower.
const huge = 50_000

// pool is as large as pools get: an IPv4 /8 (of addresses that belong to nobody, RFC
// 1112 section 4) and an IPv6 /64.
const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bench, namespace: metallb-system}
spec: {addresses: [240.0.0.0/8, "2001:db8:64::/64"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: bench, namespace: metallb-system}
`

// environment is the cluster that measurements share. Each measurement brings it to
// the state it needs, and finds what earlier ones have left.
type environment struct {
	lab *lab.Lab
	api kubernetes.Interface
	say func(format string, args ...any)
	// pprof is where controllers serve their profiles. Empty: nowhere.
	pprof string

	controller *process
	assigned   map[string]int // namespaces whose Services all have addresses
	sliced     map[string]int // namespaces whose Services all have an EndpointSlice
	speaking   bool
	// smallest is what an event cost with the fewest Services. Zero: not measured.
	smallest eventCost
	// routed is how many Services are there to be announced by BGP, and routers are
	// those that have been asked for.
	routed  int
	routers map[string]*router
}

// newEnvironment starts the lab of a topology and applies manifests to its cluster.
func newEnvironment(ctx context.Context, topology, manifests string, say func(string, ...any)) (*environment, error) {
	l, err := lab.Start(ctx, lab.Options{
		Topology: topology,
		Progress: func(s string) { say("%s", s) },
	})
	if err != nil {
		return nil, err
	}
	e := &environment{lab: l, say: say, assigned: map[string]int{}, sliced: map[string]int{}}
	if err := e.prepare(ctx, manifests); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return e, nil
}

func (e *environment) prepare(ctx context.Context, manifests string) error {
	config := rest.CopyConfig(e.lab.RESTConfig())
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	e.api = api
	if err := e.quietKubeProxy(ctx); err != nil {
		return err
	}
	for _, dir := range []string{"crd", "rbac"} {
		if dir == "rbac" {
			if err := createNamespace(ctx, e.api, namespace); err != nil {
				return err
			}
		}
		if _, err := e.lab.Kubectl(ctx, "apply", "--server-side", "-k", filepath.Join("config", dir)); err != nil {
			return err
		}
	}
	if _, err := e.lab.Kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"); err != nil {
		return err
	}
	return e.lab.Apply(ctx, manifests)
}

// quietKubeProxy stops kube-proxy once pods reach the API server through it:
// thousands of Services would keep it busy with rules that nobody uses here.
func (e *environment) quietKubeProxy(ctx context.Context) error {
	service, err := e.api.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return err
	}
	node, err := e.lab.Node(nodeName)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := node.Dial(ctx, "tcp", net.JoinHostPort(service.Spec.ClusterIP, "443"))
		if err == nil {
			return errors.Join(conn.Close(), e.lab.Pause(nodeName+"/kube-proxy"))
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func (e *environment) close() error {
	err := e.stopController()
	for _, r := range e.routers {
		err = errors.Join(err, r.stop())
	}
	return errors.Join(err, e.lab.Close())
}

// startController runs a controller beside the API server.
func (e *environment) startController() error {
	args := []string{
		"--kubeconfig=" + e.lab.Kubeconfig(), "--namespace=" + namespace,
		"--port=0", "--health-probe-port=0", "--log-level=warn",
	}
	if e.pprof != "" {
		args = append(args, "--pprof-bind-address="+e.pprof)
	}
	p, err := start("controller", exec.Command(filepath.Join("bin", "controller"), args...))
	e.controller = p
	return err
}

// startLeading runs a controller and returns when it assigns addresses and has
// written what there was to write. The name is that of a namespace for trying.
func (e *environment) startLeading(ctx context.Context, name string) error {
	try := fleet{namespace: name, size: 1}
	if err := errors.Join(try.create(ctx, e.api), e.startController()); err != nil {
		return err
	}
	if err := try.await(ctx, e.api, assigned); err != nil {
		return err
	}
	return errors.Join(e.awaitQuiet(ctx), e.drop(ctx, name))
}

// stopController ends the controller as the kubelet would, so that it gives up its
// Lease. Without a controller it does nothing.
func (e *environment) stopController() error {
	if e.controller == nil {
		return nil
	}
	p := e.controller
	e.controller = nil
	return p.stop()
}

// startSpeaker runs the DaemonSet of config/ on the node and returns its process.
func (e *environment) startSpeaker(ctx context.Context) (pid int, err error) {
	if !e.speaking {
		if _, err := e.lab.Kubectl(ctx, "apply", "--server-side", "-k", "config/speaker"); err != nil {
			return 0, err
		}
		if _, err := e.lab.Kubectl(ctx, "-n", namespace, "rollout", "status", "daemonset/speaker", "--timeout=120s"); err != nil {
			return 0, err
		}
		e.speaking = true
	}
	return e.lab.PID(nodeName + "/speaker")
}

// stopSpeaker ends the speaker, which would look at every Service too.
func (e *environment) stopSpeaker(ctx context.Context) error {
	if !e.speaking {
		return nil
	}
	e.speaking = false
	_, err := e.lab.Kubectl(ctx, "-n", namespace, "delete", "daemonset/speaker", "--wait", "--cascade=foreground", "--timeout=60s")
	return err
}

// ensureAssigned makes n Services with addresses in a namespace of their own.
func (e *environment) ensureAssigned(ctx context.Context, n int) (name string, err error) {
	f := singleStack(n)
	return f.namespace, e.ensureAllAssigned(ctx, f)
}

// ensureAllAssigned makes the Services of a fleet, with addresses.
func (e *environment) ensureAllAssigned(ctx context.Context, f fleet) error {
	if e.assigned[f.namespace] == f.size {
		return nil
	}
	e.say("having addresses assigned to %d Services", f.size)
	if err := errors.Join(e.seed(ctx, f), e.startController()); err != nil {
		return err
	}
	if err := f.await(ctx, e.api, assigned); err != nil {
		return err
	}
	e.assigned[f.namespace] = f.size
	return e.stopController()
}

// drop deletes the Services of a namespace and waits until they are gone.
func (e *environment) drop(ctx context.Context, name string) error {
	list, err := e.api.CoreV1().Services(name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	delete(e.assigned, name)
	delete(e.sliced, name)
	return spread(ctx, 8, len(list.Items), func(ctx context.Context, i int) error {
		return e.api.CoreV1().Services(name).Delete(ctx, list.Items[i].Name, metav1.DeleteOptions{})
	})
}

// process is a program that was started here.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan error
}

func start(name string, cmd *exec.Cmd) (*process, error) {
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, exited: make(chan error, 1)}
	go func() { p.exited <- cmd.Wait() }()
	return p, nil
}

// stop asks the process to end and waits until it has.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	select {
	case err := <-p.exited:
		if err != nil {
			return fmt.Errorf("stop %s: %w", p.name, err)
		}
		return nil
	case <-timeout.C:
		return errors.Join(fmt.Errorf("stop %s: it ignores SIGTERM", p.name), p.cmd.Process.Kill())
	}
}
