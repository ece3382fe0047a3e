// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/lab/internal/binaries"
	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/internal/controlplane"
	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/internal/kubelet"
	"github.com/herald-lb/herald/e2e/lab/internal/registry"
	"github.com/herald-lb/herald/e2e/lab/internal/router"
)

// Lab is a running cluster and the network around it. Its methods may be called
// by several goroutines at once.
type Lab struct {
	options  Options
	log      *slog.Logger
	topology *clab.Topology
	programs binaries.Programs
	podPath  string

	registry  *registry.Registry
	record    registry.Record
	fabric    *fabric.Fabric
	control   *controlplane.ControlPlane
	kubelet   *kubelet.Kubelet
	nodes     map[string]*Node
	routers   map[string]*router.Router
	clientset *kubernetes.Clientset

	stopPods  context.CancelFunc // ends pods, while the API server still hears of it
	stopRest  context.CancelFunc
	pods      errgroup.Group
	rest      errgroup.Group
	closeOnce sync.Once
	closeErr  error
}

// Start brings a lab up and returns when it is usable: the API server ready,
// every node registered and its kube-proxy programmed. ctx bounds the start only.
// On an error, and on a panic of the caller's program, nothing stays behind
// except what the next Start removes.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if err := checkMachine(); err != nil {
		return nil, err
	}
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	topology, err := o.topology()
	if err != nil {
		return nil, err
	}
	programs, err := o.programs(ctx)
	if err != nil {
		return nil, err
	}
	reg, err := registry.Open(registryDir)
	if err != nil {
		return nil, err
	}
	record, err := reg.Claim(o.Name, o.Topology, o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Lab{
		options: o, log: o.Log, topology: topology, programs: programs,
		registry: reg, record: record, nodes: map[string]*Node{}, routers: map[string]*router.Router{},
		stopPods: func() {}, stopRest: func() {},
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start lab %s: %w", record.Name, err), l.Close())
	}
	return l, nil
}

// logsDir is what is left of a lab's directory when the lab is gone, if the
// directory is the caller's.
const logsDir = "logs"

// clearDir removes everything but logs from the lab's directory.
func (l *Lab) clearDir() error {
	var errs []error
	for _, name := range []string{"credentials", controlplane.Etcd, "nodes", "pods", "pod", "routers"} {
		errs = append(errs, os.RemoveAll(filepath.Join(l.Dir(), name)))
	}
	return errors.Join(errs...)
}

func (l *Lab) start(ctx context.Context) error {
	// An earlier lab may have had the same directory.
	if err := l.clearDir(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(l.Dir(), logsDir), 0o755); err != nil {
		return err
	}
	if err := l.startControlPlane(ctx); err != nil {
		return err
	}
	if !l.options.NodesOff {
		if err := l.startNodes(ctx); err != nil {
			return err
		}
	}
	l.record.Ready = true
	return l.registry.Write(l.record)
}

// startControlPlane builds the whole network and starts the control plane in it.
func (l *Lab) startControlPlane(ctx context.Context) error {
	l.options.Progress("building the network")
	l.fabric = fabric.New(l.topology, l.record.Prefix())
	if err := l.fabric.Build(ctx); err != nil {
		return err
	}
	link := fabric.HostLink{Name: l.record.HostLink(), Prefix: l.record.HostNet}
	if err := l.fabric.AddHostLink(link); err != nil {
		return err
	}
	l.options.Progress("starting the control plane")
	host := l.fabric.Host(fabric.ControlPlane)
	control, err := controlplane.New(controlplane.Config{
		Dir: l.Dir(), Programs: l.programs, Netns: host.Netns,
		Nodes: ordered(host.Mgmt, l.topology.Cluster.ServiceSubnets), Host: link.Inside(),
		PodSubnets: l.topology.Cluster.PodSubnets, ServiceSubnets: l.topology.Cluster.ServiceSubnets,
		ExtraArgs: l.options.APIServerArgs, Log: l.log,
	}, time.Now())
	if err != nil {
		return err
	}
	l.control = control
	if l.clientset, err = kubernetes.NewForConfig(control.RESTConfig()); err != nil {
		return fmt.Errorf("make clientset: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stopRest = stop
	l.rest.Go(func() error { return control.Run(run) })
	if l.options.Pod == "" && !l.options.NodesOff {
		// While the API server starts, there is time to build.
		if l.podPath, err = l.options.podBinary(ctx, l.Dir()); err != nil {
			return err
		}
	} else {
		l.podPath = l.options.Pod
	}
	if err := l.startRouters(ctx, run); err != nil {
		return err
	}
	return control.WaitReady(ctx)
}

// ordered returns those addresses whose family the cluster has, its primary
// family first.
func ordered(addresses []netip.Addr, families []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, family := range families {
		for _, a := range addresses {
			if a.Is4() == family.Addr().Is4() {
				out = append(out, a)
			}
		}
	}
	return out
}

// Close ends everything and removes it: pods in good order, then the control
// plane, namespaces, links and files. It may be called more than once.
func (l *Lab) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Lab) close() error {
	var errs []error
	l.stopPods()
	errs = append(errs, l.pods.Wait())
	l.stopRest()
	errs = append(errs, l.rest.Wait())
	for _, n := range l.nodes {
		n.spawner.Close()
	}
	for _, r := range l.routers {
		r.Close()
	}
	if l.control != nil {
		l.control.Close()
	}
	errs = append(errs,
		registry.Clean(l.record.Prefix()),
		fabric.RemoveLink(l.record.HostLink()),
		l.clearDir(),
		l.registry.Forget(l.record))
	return errors.Join(errs...)
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.record.Name }

// Dir returns the directory of logs and data.
func (l *Lab) Dir() string { return l.record.Dir }

// Kubeconfig returns the path of the administrator's kubeconfig, usable from
// the machine itself.
func (l *Lab) Kubeconfig() string { return l.control.Kubeconfig() }

// RESTConfig returns the same for Go clients. It is the caller's to change; its
// requests are not limited.
func (l *Lab) RESTConfig() *rest.Config { return l.control.RESTConfig() }

// Clientset returns a client with the administrator's rights.
func (l *Lab) Clientset() *kubernetes.Clientset { return l.clientset }
