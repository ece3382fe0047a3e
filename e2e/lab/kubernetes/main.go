// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics on /metrics
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectlcli "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
)

// programs maps the name under which the binary was called to what it becomes.
// Each function reads os.Args and returns the exit status.
func programs() map[string]func() int {
	return map[string]func() int{
		"etcd": func() int { etcdmain.Main(os.Args); return 0 },
		"kube-apiserver": func() int {
			return cli.Run(apiserver.NewAPIServerCommand())
		},
		"kube-controller-manager": func() int {
			return cli.Run(controllermanager.NewControllerManagerCommand())
		},
		"kube-proxy": func() int {
			return cli.Run(proxy.NewProxyCommand())
		},
		"kubectl": kubectl,
	}
}

// kubectl differs from the daemons: it prints its own errors and must not
// print them a second time as a usage error.
func kubectl() int {
	if err := cli.RunNoErrOutput(kubectlcli.NewDefaultKubectlCommand()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func main() {
	os.Exit(run())
}

func run() int {
	known := programs()
	name := filepath.Base(os.Args[0])
	if known[name] == nil && len(os.Args) > 1 { // "kubernetes kubectl get nodes"
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	program, ok := known[name]
	if !ok {
		names := make([]string, 0, len(known))
		for n := range known {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "usage: %s PROGRAM [ARGUMENT...]; PROGRAM is one of: %s\n",
			filepath.Base(os.Args[0]), strings.Join(names, ", "))
		return 2
	}
	return program()
}
