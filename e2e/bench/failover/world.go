// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	heraldNS   = "metallb-system"
	lanLink    = "eth1"
	clientName = "client1"
	startLimit = 5 * time.Minute
)

// topologyOf writes the containerlab files of one LAN with so many nodes and a client.
func topologyOf(dir string, nodes int) (path string, err error) {
	var kind, clab, links strings.Builder
	kind.WriteString("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {ipFamily: dual, kubeProxyMode: nftables}\nnodes:\n  - role: control-plane\n")
	clab.WriteString(`name: failover
mgmt: {network: kind, ipv4-subnet: 172.31.255.0/24, ipv6-subnet: "fd00:172:31:255::/64"}
topology:
  nodes:
    k8s: {kind: k8s-kind, image: "kindest/node:v1.34.4", startup-config: failover.kind.yaml}
`)
	host := func(name, kind string, i int) {
		fmt.Fprintf(&clab, "    %s:\n      kind: %s\n%s      exec:\n", name, kind,
			map[string]string{"linux": "      image: nicolaka/netshoot:v0.13\n      network-mode: none\n"}[kind])
		fmt.Fprintf(&clab, "        - ip address add 10.77.0.%d/16 dev eth1\n        - ip address add 2001:db8:77::%d/64 dev eth1 nodad\n", i, i)
		fmt.Fprintf(&links, "    - endpoints: [%s:eth1, lan:port%d]\n", name, i)
	}
	for i := range nodes + 1 { // one more has the backend
		kind.WriteString("  - role: worker\n")
		name := "k8s-worker"
		if i > 0 {
			name += fmt.Sprint(i + 1)
		}
		host(name, "ext-container", 11+i)
	}
	host(clientName, "linux", 101)
	clab.WriteString("    lan: {kind: bridge}\n  links:\n" + links.String())
	path = filepath.Join(dir, "failover.clab.yml")
	return path, errors.Join(
		os.WriteFile(path, []byte(clab.String()), 0o600),
		os.WriteFile(filepath.Join(dir, "failover.kind.yaml"), []byte(kind.String()), 0o600))
}

const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: failover, namespace: metallb-system}
spec: {addresses: [10.77.8.0/21, "2001:db8:77::1:0/112"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: failover, namespace: metallb-system}
`

// world is the cluster, with Herald and Services.
type world struct {
	options
	lab    *lab.Lab
	client *lab.Host
	nodeOf map[string]string // by hardware address on the LAN
	// announcers are the nodes that announce, and backend is the one with the pod: it
	// announces nothing and is never harmed.
	announcers []string
	backend    string
	// addresses are those of the Services, by family.
	addresses map[string][]netip.Addr
	serviceOf map[netip.Addr]string
	created   int    // Services
	token     string // to read metrics with
	home      home
	say       func(string, ...any)
}

func newWorld(ctx context.Context, o options, nodes int, dir string, say func(string, ...any)) (_ *world, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	topology, err := topologyOf(dir, nodes)
	if err != nil {
		return nil, err
	}
	l, err := lab.Start(ctx, lab.Options{
		Topology: topology, Dir: o.dir, Progress: func(s string) { say("%s", s) },
		Controller: program("controller"), Speaker: program("speaker"),
		Backoff: 200 * time.Millisecond, // it is killed again and again, and has not crashed
	})
	if err != nil {
		return nil, err
	}
	w := &world{options: o, lab: l, nodeOf: make(map[string]string), addresses: make(map[string][]netip.Addr), serviceOf: make(map[netip.Addr]string), say: say}
	if err := w.meet(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := errors.Join(w.install(ctx), w.givenReader(ctx)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return w, nil
}

// program is the path of one of Herald's programs: of bin/, or of HERALD_BIN.
func program(name string) string {
	if dir := os.Getenv("HERALD_BIN"); dir != "" {
		return filepath.Join(dir, name)
	}
	return ""
}

func (w *world) meet() (err error) {
	if w.client, err = w.lab.Client(clientName); err != nil {
		return err
	}
	for _, n := range w.lab.Nodes() {
		mac, err := n.MAC(lanLink)
		if err != nil {
			return err
		}
		w.nodeOf[mac.String()] = n.Name()
		w.announcers = append(w.announcers, n.Name())
	}
	last := len(w.announcers) - 1
	w.backend, w.announcers = w.announcers[last], w.announcers[:last]
	return nil
}

// install installs Herald, a pod and the pool.
func (w *world) install(ctx context.Context) error {
	if _, err := w.lab.Kubectl(ctx, "apply", "-k", "config/default"); err != nil {
		return fmt.Errorf("install Herald: %w", err)
	}
	if err := w.addFlags(ctx); err != nil {
		return err
	}
	for _, workload := range []string{"deployment/controller", "daemonset/speaker"} {
		if _, err := w.lab.Kubectl(ctx, "-n", heraldNS, "rollout", "status", workload, "--timeout=120s"); err != nil {
			return fmt.Errorf("install Herald: %w", err)
		}
	}
	backend, err := w.lab.Node(w.backend)
	if err != nil {
		return err
	}
	if err := backend.Label(ctx, corev1.LabelNodeExcludeBalancers, "true"); err != nil {
		return err
	}
	if err := w.lab.Apply(ctx, pool); err != nil {
		return err
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "echo", Labels: map[string]string{"app": "echo"}},
		Spec: corev1.PodSpec{NodeName: w.backend, Containers: []corev1.Container{{
			Name: "echo", Image: "herald-lb/echo", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
		}}},
	}
	_, err = w.lab.Clientset().CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	return err
}

// addFlags gives the speakers the flags that were asked for.
func (w *world) addFlags(ctx context.Context) error {
	flags := append(strings.Fields(w.flags), "--drain-taint="+drainMark)
	if w.soak > 0 {
		flags = append(flags, "--log-level=debug") // takeovers are to be explained
	}
	var patch []string
	for _, f := range flags {
		patch = append(patch, fmt.Sprintf(`{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":%q}`, f))
	}
	_, err := w.lab.Kubectl(ctx, "-n", heraldNS, "patch", "daemonset/speaker", "--type=json", "-p", "["+strings.Join(patch, ",")+"]")
	return err
}

// serve creates Services until there are so many, and learns all addresses.
func (w *world) serve(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	const clients = 8 // at once
	group, creating := errgroup.WithContext(ctx)
	group.SetLimit(clients)
	services := w.lab.Clientset().CoreV1().Services("default")
	for ; w.created < count; w.created++ {
		service := w.service(fmt.Sprintf("web-%d", w.created))
		group.Go(func() error {
			_, err := services.Create(creating, service, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return await.Until(ctx, startLimit, 200*time.Millisecond, func() error {
		list, err := services.List(ctx, metav1.ListOptions{LabelSelector: "measured"})
		if err != nil {
			return err
		}
		clear(w.addresses)
		for _, s := range list.Items {
			for _, ingress := range s.Status.LoadBalancer.Ingress {
				addr := netip.MustParseAddr(ingress.IP)
				w.addresses[familyOf(addr)] = append(w.addresses[familyOf(addr)], addr)
				w.serviceOf[addr] = s.Name
			}
		}
		for _, family := range w.families {
			if n := len(w.addresses[family]); n != count {
				return fmt.Errorf("%d of %d Services have an IPv%s address", n, count, family)
			}
		}
		return nil
	})
}

func familyOf(addr netip.Addr) string {
	if addr.Is4() {
		return "4"
	}
	return "6"
}

// service has an address of each family that is measured.
func (w *world) service(name string) *corev1.Service {
	no, policy := false, corev1.IPFamilyPolicySingleStack
	var families []corev1.IPFamily
	for _, f := range w.families {
		families = append(families, corev1.IPFamily("IPv"+f))
	}
	if len(families) > 1 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"measured": "yes"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "echo"},
			Ports:      []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
			IPFamilies: families, IPFamilyPolicy: &policy, AllocateLoadBalancerNodePorts: &no,
		},
	}
}
