// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"path/filepath"
	"strings"
)

func (cp *ControlPlane) etcdArgs() []string {
	return []string{
		"--name=lab",
		"--data-dir=" + filepath.Join(cp.config.Dir, "etcd"),
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=lab=http://127.0.0.1:2380",
		"--log-level=warn",
		"--quota-backend-bytes=8589934592",
		// A lab that loses its power is not worth its data.
		"--unsafe-no-fsync",
	}
}

func (cp *ControlPlane) apiServerArgs() []string {
	c := cp.config
	path := cp.credentials.path
	return append([]string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=::",
		fmt.Sprintf("--secure-port=%d", SecurePort),
		"--advertise-address=" + c.Nodes[0].String(),
		"--service-cluster-ip-range=" + joinPrefixes(c.ServiceSubnets),
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + path("ca.crt"),
		"--tls-cert-file=" + path("apiserver.crt"),
		"--tls-private-key-file=" + path("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + path("sa.pub"),
		"--service-account-signing-key-file=" + path("sa.key"),
		"--allow-privileged=true",
		"--kubelet-client-certificate=" + path("kubelet-client.crt"),
		"--kubelet-client-key=" + path("kubelet-client.key"),
		"--kubelet-certificate-authority=" + path("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--enable-admission-plugins=NodeRestriction",
		// Taints for conditions are the node lifecycle controller's to remove, which
		// does not run here: a node would stay "not ready" for ever.
		"--disable-admission-plugins=TaintNodesByCondition",
	}, c.ExtraArgs...)
}

func (cp *ControlPlane) controllerManagerArgs() []string {
	path := cp.credentials.path
	return []string{
		"--kubeconfig=" + path("controller-manager.kubeconfig"),
		"--controllers=" + strings.Join(controllers, ","),
		"--use-service-account-credentials=true",
		"--root-ca-file=" + path("ca.crt"),
		"--service-account-private-key-file=" + path("sa.key"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--allocate-node-cidrs=false",
		// The default of 20 requests a second is for a controller manager that shares
		// its API server with thousands of nodes.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}
}
