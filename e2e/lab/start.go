// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/internal/controlplane"
	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/internal/kubelet"
	"github.com/herald-lb/herald/e2e/lab/internal/pod"
	"github.com/herald-lb/herald/e2e/lab/internal/router"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// NodeInterfaceLabel on a node of a topology names the interface whose addresses
// are the node's internal ones. Without it, they are those of its first link, and
// without addresses there, of the management network.
const NodeInterfaceLabel = "herald-lab/node-interface"

// startRouters starts FRR on all routers at once; run is their life.
func (l *Lab) startRouters(ctx, run context.Context) error {
	var setup errgroup.Group
	for _, n := range l.topology.Nodes {
		if n.Kind != clab.Router {
			continue
		}
		files := map[string]string{}
		for _, b := range n.Binds {
			files[filepath.Base(b.Target)] = b.Source
		}
		r, err := router.New(ctx, router.Config{
			Name: n.Name, Netns: l.fabric.Host(n.Name).Netns, Files: files,
			Dir: filepath.Join(l.Dir(), "routers", n.Name), LogDir: filepath.Join(l.Dir(), logsDir),
			Shim: l.podPath, Word: pod.Router, Log: l.log,
		})
		if err != nil {
			return err
		}
		l.routers[n.Name] = r
		l.rest.Go(func() error { return r.Run(run) })
		setup.Go(func() error {
			if err := r.WaitReady(ctx); err != nil {
				return err
			}
			host := &Host{lab: l, fabric: l.fabric.Host(n.Name)}
			return fabric.RunCommands(ctx, n, host.Command)
		})
	}
	return setup.Wait()
}

// startNodes makes the cluster's nodes work: routes, kube-proxies, kubelets.
func (l *Lab) startNodes(ctx context.Context) error {
	l.options.Progress("starting the nodes")
	for i, member := range l.topology.Cluster.Members {
		n, err := l.newNode(member, i)
		if err != nil {
			return fmt.Errorf("node %s: %w", member.Name, err)
		}
		l.nodes[n.Name()] = n
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopControlPlane := l.stopRest
	l.stopRest = func() { stop(); stopControlPlane() }
	var setup errgroup.Group
	for _, n := range l.nodes {
		setup.Go(func() error { return l.startNode(ctx, run, n) })
	}
	if err := setup.Wait(); err != nil {
		return err
	}
	return l.startKubelet(ctx)
}

func (l *Lab) newNode(member clab.ClusterMember, index int) (*Node, error) {
	host := l.fabric.Host(member.Name)
	spawner, err := netns.NewSpawner(host.Netns)
	if err != nil {
		return nil, err
	}
	n := &Node{Host: &Host{lab: l, fabric: host}, member: member, spawner: spawner}
	for _, subnet := range l.topology.Cluster.PodSubnets {
		n.podCIDRs = append(n.podCIDRs, podCIDR(subnet, index))
	}
	n.internal, err = l.internalAddresses(host)
	return n, err
}

// podCIDR returns a node's share of a pod subnet: a /24 or a /64.
func podCIDR(subnet netip.Prefix, index int) netip.Prefix {
	b := subnet.Masked().Addr().AsSlice()
	if subnet.Addr().Is4() {
		b[2] += byte(index + 1)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b)), 24)
	}
	b[7] += byte(index + 1)
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(b)), 64)
}

// internalAddresses returns a node's addresses in the cluster.
func (l *Lab) internalAddresses(host *fabric.Host) ([]netip.Addr, error) {
	name := l.topology.Node(host.Name).Labels[NodeInterfaceLabel]
	if name == "" {
		for _, candidate := range host.Interfaces() {
			if candidate != fabric.MgmtInterface {
				name = candidate
				break
			}
		}
	}
	if name != "" && name != fabric.MgmtInterface {
		prefixes, err := host.Prefixes(name)
		if err != nil {
			return nil, err
		}
		var addresses []netip.Addr
		for _, p := range prefixes {
			addresses = append(addresses, p.Addr())
		}
		if found := firstOfEach(ordered(addresses, l.topology.Cluster.PodSubnets)); len(found) == len(l.topology.Cluster.PodSubnets) {
			return found, nil
		}
	}
	return ordered(host.Mgmt, l.topology.Cluster.PodSubnets), nil
}

// firstOfEach keeps the first address of each family.
func firstOfEach(addresses []netip.Addr) []netip.Addr {
	var out []netip.Addr
	seen := map[bool]bool{}
	for _, a := range addresses {
		if !seen[a.Is4()] {
			out = append(out, a)
			seen[a.Is4()] = true
		}
	}
	return out
}

// startNode registers a node, routes to the pods of all others, and starts its
// kube-proxy; run is the proxy's life.
func (l *Lab) startNode(ctx, run context.Context, n *Node) error {
	if err := l.route(n); err != nil {
		return err
	}
	if err := l.masquerade(ctx, n); err != nil {
		return err
	}
	if err := l.register(ctx, n); err != nil {
		return err
	}
	proxy, err := l.control.NewProxy(n.Name(), n.spawner, filepath.Join(l.Dir(), "logs", "kube-proxy-"+n.Name()+".log"))
	if err != nil {
		return err
	}
	n.proxy = proxy
	l.rest.Go(func() error { return proxy.Run(run) })
	return controlplane.WaitProxy(ctx, n.Netns())
}

// route makes the node reach the pods of all others, and the control plane reach
// this node and its pods.
func (l *Lab) route(n *Node) error {
	control := l.fabric.Host(fabric.ControlPlane).Netns
	for i, cidr := range n.podCIDRs {
		via := ordered(n.fabric.Mgmt, []netip.Prefix{cidr})[0]
		if err := fabric.AddRoute(control, cidr, via); err != nil {
			return err
		}
		if own := n.internal[i]; own != via {
			if err := fabric.AddRoute(control, netip.PrefixFrom(own, own.BitLen()), via); err != nil {
				return err
			}
		}
		for _, other := range l.nodes {
			if other == n {
				continue
			}
			if err := fabric.AddRoute(n.Netns(), other.podCIDRs[i], l.hop(n, other, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hop returns where a node sends packets for another's pods: to its internal
// address if that is on a common link, else by the management network.
func (l *Lab) hop(from, to *Node, family int) netip.Addr {
	target := to.internal[family]
	for _, name := range from.fabric.Interfaces() {
		prefixes, err := from.fabric.Prefixes(name)
		if err != nil {
			continue
		}
		for _, p := range prefixes {
			if p.Masked().Contains(target) {
				return target
			}
		}
	}
	return ordered(to.fabric.Mgmt, []netip.Prefix{to.podCIDRs[family]})[0]
}

// masquerade gives pods' packets to the world outside the cluster the node's
// address, as the usual network plug-ins do: nobody out there has a route back to
// a pod.
func (l *Lab) masquerade(ctx context.Context, n *Node) error {
	var rules strings.Builder
	for i, cidr := range n.podCIDRs {
		family := "ip"
		inside := []string{l.topology.Mgmt.IPv4.String()}
		if cidr.Addr().Is6() {
			family, inside = "ip6", []string{l.topology.Mgmt.IPv6.String()}
		}
		inside = append(inside, l.topology.Cluster.PodSubnets[i].String(), l.topology.Cluster.ServiceSubnets[i].String())
		fmt.Fprintf(&rules, "\t\t%s saddr %s %s daddr != { %s } masquerade\n", family, cidr, family, strings.Join(inside, ", "))
	}
	cmd := n.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`table inet lab-cni {
	chain postrouting {
		type nat hook postrouting priority srcnat
%s	}
}
`, &rules))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("masquerade pods: %w: %s", err, out)
	}
	return nil
}

// register creates the Node object with its status.
func (l *Lab) register(ctx context.Context, n *Node) error {
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name(), Labels: map[string]string{
			corev1.LabelHostname:   n.Name(),
			corev1.LabelOSStable:   "linux",
			corev1.LabelArchStable: "amd64",
		}},
	}
	maps.Copy(object.Labels, n.member.Labels)
	for _, cidr := range n.podCIDRs {
		object.Spec.PodCIDRs = append(object.Spec.PodCIDRs, cidr.String())
	}
	object.Spec.PodCIDR = object.Spec.PodCIDRs[0]
	created, err := l.clientset.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Node: %w", err)
	}
	created.Status = nodeStatus(n)
	if _, err := l.clientset.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("set status of Node: %w", err)
	}
	return nil
}

func nodeStatus(n *Node) corev1.NodeStatus {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("2"),
		corev1.ResourceMemory: resource.MustParse("8Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	s := corev1.NodeStatus{Capacity: capacity, Allocatable: capacity}
	for _, a := range n.internal {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: n.Name()})
	s.DaemonEndpoints.KubeletEndpoint.Port = kubelet.Port
	now := metav1.Now()
	for kind, status := range map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady:              corev1.ConditionTrue,
		corev1.NodeNetworkUnavailable: corev1.ConditionFalse,
	} {
		s.Conditions = append(s.Conditions, corev1.NodeCondition{
			Type: kind, Status: status, Reason: "Lab", LastHeartbeatTime: now, LastTransitionTime: now,
		})
	}
	return s
}

func (l *Lab) startKubelet(ctx context.Context) error {
	services := l.topology.Cluster.ServiceSubnets
	config := kubelet.Config{
		Client:   l.clientset,
		Dir:      l.Dir(),
		Shim:     l.podPath,
		ShimArgs: []string{pod.Container},
		Programs: map[string]kubelet.Program{
			"controller": {Path: l.options.Controller},
			"speaker":    {Path: l.options.Speaker},
			"echo":       {Path: l.podPath, Args: []string{pod.Echo}},
		},
		API:    netip.AddrPortFrom(services[0].Masked().Addr().Next(), 443),
		Prefix: l.record.Prefix(),
		Log:    l.log, Backoff: l.options.Backoff,
	}
	for _, n := range l.Nodes() {
		config.Nodes = append(config.Nodes, &kubelet.Node{
			Name: n.Name(), Netns: n.Netns(), Spawner: n.spawner, Addresses: n.internal, PodCIDRs: n.podCIDRs,
		})
	}
	var addresses []netip.Addr
	for _, n := range config.Nodes {
		addresses = append(addresses, n.Addresses...)
	}
	identity, err := l.control.KubeletTLS(addresses)
	if err != nil {
		return err
	}
	config.TLS = identity
	l.kubelet = kubelet.New(config)
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stopPods = stop
	l.pods.Go(func() error { return l.kubelet.Run(run) })
	return nil
}
