// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/herald-lb/herald/e2e/lab/internal/binaries"
	"github.com/herald-lb/herald/e2e/lab/internal/child"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// Config says where and how to run. All fields are required.
type Config struct {
	// Dir receives data, credentials and logs.
	Dir      string
	Programs binaries.Programs
	Netns    *netns.Namespace
	// Nodes are the addresses at which the cluster's nodes reach the API server,
	// one for each IP family.
	Nodes []netip.Addr
	// Host is the address at which the machine itself does.
	Host           netip.Addr
	PodSubnets     []netip.Prefix
	ServiceSubnets []netip.Prefix
	// ExtraArgs are appended to the API server's flags.
	ExtraArgs []string
	Log       *slog.Logger
}

// ControlPlane is a Kubernetes control plane.
type ControlPlane struct {
	config      Config
	credentials *credentials
	spawner     *netns.Spawner
	keepers     map[string]*child.Keeper
	kubeconfig  string
	rest        *rest.Config
}

// The names of the control plane's programs.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// controllers are those of kube-controller-manager that the lab has a use for.
// Nodes' health is the lab's own to set, so the controllers that judge it are off.
var controllers = []string{
	"daemonset-controller",
	"deployment-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"namespace-controller",
	"replicaset-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
}

// New writes credentials and kubeconfigs; it starts nothing but the thread that
// programs are started from, which Close ends.
func New(c Config, now time.Time) (*ControlPlane, error) {
	addresses := append([]netip.Addr{loopback, netip.IPv6Loopback(), c.Host}, c.Nodes...)
	for _, subnet := range c.ServiceSubnets {
		addresses = append(addresses, subnet.Addr().Next()) // of Service default/kubernetes
	}
	names := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	creds, err := issueCredentials(filepath.Join(c.Dir, "credentials"), names, addresses, now)
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{config: c, credentials: creds, keepers: map[string]*child.Keeper{}}
	if cp.kubeconfig, err = creds.kubeconfig("admin.kubeconfig", c.Host, "kubernetes-admin", "system:masters"); err != nil {
		return nil, err
	}
	if _, err = creds.kubeconfig("controller-manager.kubeconfig", loopback,
		"system:kube-controller-manager"); err != nil {
		return nil, err
	}
	if _, err = creds.kubeconfig("proxy.kubeconfig", c.Nodes[0], "system:kube-proxy"); err != nil {
		return nil, err
	}
	if cp.rest, err = clientcmd.BuildConfigFromFlags("", cp.kubeconfig); err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	if cp.spawner, err = netns.NewSpawner(c.Netns); err != nil {
		return nil, err
	}
	cp.keep(Etcd, cp.etcdArgs())
	cp.keep(APIServer, cp.apiServerArgs())
	cp.keep(ControllerManager, cp.controllerManagerArgs())
	return cp, nil
}

// keep prepares a program of the control plane's namespace.
func (cp *ControlPlane) keep(name string, args []string) {
	cp.keepers[name] = child.NewKeeper(name, func() (*child.Child, error) {
		return child.Start(cp.spawner, exec.Command(cp.config.Programs.Path(name), args...), cp.LogPath(name))
	}, cp.config.Log, child.Options{})
}

// LogPath returns the file that a program logs to.
func (cp *ControlPlane) LogPath(name string) string {
	return filepath.Join(cp.config.Dir, "logs", name+".log")
}

// Keeper returns what keeps a program running, or nil.
func (cp *ControlPlane) Keeper(name string) *child.Keeper { return cp.keepers[name] }

// Kubeconfig returns the path of a kubeconfig for the cluster's administrator,
// usable on the machine.
func (cp *ControlPlane) Kubeconfig() string { return cp.kubeconfig }

// RESTConfig returns the same for Go clients, without a limit on their requests.
func (cp *ControlPlane) RESTConfig() *rest.Config {
	c := rest.CopyConfig(cp.rest)
	c.QPS = -1
	return c
}

// Close ends the thread that programs are started from, after Run.
func (cp *ControlPlane) Close() { cp.spawner.Close() }

// Run runs the control plane until ctx ends; it returns when all programs are
// gone.
func (cp *ControlPlane) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return cp.keepers[Etcd].Run(ctx) })
	group.Go(func() error {
		// The API server gives up on an etcd that is not there when it starts, and
		// would lose a second to its restart.
		if err := cp.waitEtcd(ctx); err != nil {
			return nil //nolint:nilerr // only ctx ends the wait, which is no failure of ours
		}
		return cp.keepers[APIServer].Run(ctx)
	})
	group.Go(func() error {
		if err := cp.WaitReady(ctx); err != nil {
			return nil //nolint:nilerr // as above
		}
		return cp.keepers[ControllerManager].Run(ctx)
	})
	return group.Wait()
}

func (cp *ControlPlane) waitEtcd(ctx context.Context) error {
	return poll(ctx, 20*time.Millisecond, func() bool {
		conn, err := cp.config.Netns.Dial(ctx, "tcp", "127.0.0.1:2379")
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// WaitReady waits until the API server says that it is ready.
func (cp *ControlPlane) WaitReady(ctx context.Context) error {
	client, err := rest.HTTPClientFor(cp.RESTConfig())
	if err != nil {
		return fmt.Errorf("make client of the API server: %w", err)
	}
	defer client.CloseIdleConnections()
	client.Timeout = time.Second
	err = poll(ctx, 50*time.Millisecond, func() bool {
		response, err := client.Get(cp.rest.Host + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	if err != nil {
		// The log itself may be gone by the time somebody reads this.
		return fmt.Errorf("wait for the API server: %w; the last it said is: %s", err, lastLine(cp.LogPath(APIServer)))
	}
	return nil
}

// poll calls done until it says yes.
func poll(ctx context.Context, every time.Duration, done func() bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if done() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// lastLine returns the end of a log, or why there is none.
func lastLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return lines[len(lines)-1]
}

func joinPrefixes(list []netip.Prefix) string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
