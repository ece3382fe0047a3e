// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/lab/internal/child"
	"github.com/herald-lb/herald/e2e/lab/internal/clab"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// Node is a node of the cluster.
type Node struct {
	*Host
	member   clab.ClusterMember
	internal []netip.Addr
	podCIDRs []netip.Prefix
	spawner  *netns.Spawner
	proxy    *child.Keeper
}

// Node returns the node of that name.
func (l *Lab) Node(name string) (*Node, error) {
	n := l.nodes[name]
	if n == nil {
		return nil, fmt.Errorf("find node %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(l.nodes)), ", "))
	}
	return n, nil
}

// Nodes returns all nodes in order of their names.
func (l *Lab) Nodes() []*Node {
	var nodes []*Node
	for _, name := range slices.Sorted(maps.Keys(l.nodes)) {
		nodes = append(nodes, l.nodes[name])
	}
	return nodes
}

// InternalIPs returns the node's addresses in the cluster, the primary family
// first.
func (n *Node) InternalIPs() []netip.Addr { return slices.Clone(n.internal) }

// PodCIDRs returns what the addresses of the node's pods are from.
func (n *Node) PodCIDRs() []netip.Prefix { return slices.Clone(n.podCIDRs) }

// Label sets a label of the Node object; an empty value removes it.
func (n *Node) Label(ctx context.Context, key, value string) error {
	var wanted any = value
	if value == "" {
		wanted = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{key: wanted}}})
	if err != nil {
		return fmt.Errorf("label node %s: %w", n.Name(), err)
	}
	if _, err := n.lab.clientset.CoreV1().Nodes().Patch(ctx, n.Name(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label node %s: %w", n.Name(), err)
	}
	return nil
}

// SetCondition sets a condition of the Node object. Nobody else in the lab sets
// any: it stays until the next call.
func (n *Node) SetCondition(ctx context.Context, kind corev1.NodeConditionType, status corev1.ConditionStatus) error {
	now := metav1.Now()
	condition := corev1.NodeCondition{
		Type: kind, Status: status, Reason: "Lab", LastHeartbeatTime: now, LastTransitionTime: now,
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{condition}}})
	if err != nil {
		return fmt.Errorf("set condition of node %s: %w", n.Name(), err)
	}
	if _, err := n.lab.clientset.CoreV1().Nodes().Patch(ctx, n.Name(), types.StrategicMergePatchType, patch,
		metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("set condition of node %s: %w", n.Name(), err)
	}
	return nil
}

// Isolate pulls all the node's cables, the management one too. Its processes go
// on, and see no carrier.
func (n *Node) Isolate() error { return n.setLinks(false) }

// Rejoin plugs all the node's cables in again.
func (n *Node) Rejoin() error { return n.setLinks(true) }

func (n *Node) setLinks(up bool) error {
	var errs []error
	for _, endpoint := range n.lab.fabric.Endpoints(n.Name()) {
		errs = append(errs, n.lab.fabric.SetLink(endpoint, up))
	}
	return errors.Join(errs...)
}

// Kill is a power failure: the node's links go, then its processes, without a
// word to anybody. Its objects in the API stay as they are.
func (n *Node) Kill(ctx context.Context) error {
	if err := n.Isolate(); err != nil {
		return err
	}
	if err := errors.Join(n.lab.kubelet.PowerOff(ctx, n.Name()), n.proxy.Hold(ctx, 0)); err != nil {
		return err
	}
	return n.forget(ctx)
}

// forget clears what a kernel does not remember across a boot: kube-proxy's
// rules, tracked connections, neighbours.
func (n *Node) forget(ctx context.Context) error {
	const script = "table ip kube-proxy\ndelete table ip kube-proxy\ntable ip6 kube-proxy\ndelete table ip6 kube-proxy\n"
	cmd := n.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("clear rules of %s: %w: %s", n.Name(), err, out)
	}
	if err := n.Netns().Enter(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }); err != nil {
		return fmt.Errorf("clear tracked connections of %s: %w", n.Name(), err)
	}
	return n.FlushNeighbors()
}

// Revive is the power coming back: kube-proxy and the pods start anew.
func (n *Node) Revive() error {
	if err := n.Rejoin(); err != nil {
		return err
	}
	n.proxy.Release()
	return n.lab.kubelet.PowerOn(n.Name())
}
