// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/herald-lb/herald/e2e/lab/internal/child"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// proxyHealth is where kube-proxy reports that it has programmed the node.
const proxyHealth = "127.0.0.1:10256"

// NewProxy returns the kube-proxy of a node. The spawner is the node's.
func (cp *ControlPlane) NewProxy(node string, spawner *netns.Spawner, logPath string) (*child.Keeper, error) {
	config := filepath.Join(cp.config.Dir, "nodes", node, "kube-proxy.yaml")
	if err := writeFile(config, cp.proxyConfig(node)); err != nil {
		return nil, fmt.Errorf("configure kube-proxy of %s: %w", node, err)
	}
	return child.NewKeeper(node+"/kube-proxy", func() (*child.Child, error) {
		return child.Start(spawner, exec.Command(cp.config.Programs.Path("kube-proxy"), "--config="+config), logPath)
	}, cp.config.Log, child.Options{}), nil
}

// proxyConfig follows kind's, except for what a namespace is not allowed to set
// (conntrack's limits) and for minSyncPeriod: its default of 1 s would be most of
// every time that the lab measures.
func (cp *ControlPlane) proxyConfig(node string) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clusterCIDR: %s
detectLocalMode: ClusterCIDR
healthzBindAddress: %s
metricsBindAddress: 127.0.0.1:10249
clientConnection:
  kubeconfig: %s
  qps: 100
  burst: 200
nftables:
  minSyncPeriod: 10ms
  syncPeriod: 30s
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
`, node, joinPrefixes(cp.config.PodSubnets), proxyHealth, cp.credentials.path("proxy.kubeconfig"))
}

// WaitProxy waits until a node's kube-proxy has programmed it.
func WaitProxy(ctx context.Context, node *netns.Namespace) error {
	client := node.HTTPClient(time.Second)
	err := poll(ctx, 50*time.Millisecond, func() bool {
		response, err := client.Get("http://" + proxyHealth + "/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("wait for kube-proxy in %s: %w", node.Name(), err)
	}
	return nil
}
