// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options are the values of the flags that both binaries have. They are valid
// once [FlagSet.Parse] has returned without being done.
type Options struct {
	Namespace  string   // the namespace of the configuration objects; never empty
	Kubeconfig string   // path; empty means the ServiceAccount of the pod
	LogLevel   LogLevel // zero value: info
	HealthPort uint16   // 0 disables the health probes
	// MetricsPort is where metrics are served over HTTPS; 0 disables them.
	MetricsPort uint16
	// MetricsCertDir holds tls.crt and tls.key; empty means a certificate made
	// at start that lives in memory only.
	MetricsCertDir string
	TLS            TLSOptions // of the metrics server
	PprofAddress   string     // host:port of the profiles; empty disables them

	healthHost string
}

// Defaults are the few defaults in which the binaries differ.
type Defaults struct {
	// HealthHost is the host part of the address of the health probes. Empty
	// means all addresses; a process on the host's network says 127.0.0.1.
	HealthHost string
}

// namespaceFile is where the kubelet tells a pod its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// RegisterOptions defines the common flags, by the names and with the defaults
// that MetalLB has.
func RegisterOptions(f *FlagSet, defaults Defaults) *Options {
	o := &Options{healthHost: defaults.HealthHost}
	f.StringVar(&o.Namespace, "namespace", "", "`namespace` of the configuration objects; default the namespace of the pod")
	f.Env("namespace", "METALLB_NAMESPACE")
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "`path` of a kubeconfig; default the ServiceAccount of the pod")
	f.Var(&o.LogLevel, "log-level", "least important `level` to log: all, debug, info, warn, error or none")
	o.HealthPort, o.MetricsPort = 17472, 9120
	f.Var((*portValue)(&o.HealthPort), "health-probe-port", "`port` of /healthz and /readyz; 0 disables them")
	f.Var((*portValue)(&o.MetricsPort), "port", "`port` of /metrics over HTTPS; 0 disables it")
	f.StringVar(&o.MetricsCertDir, "metrics-cert-dir", "", "`directory` with tls.crt and tls.key for /metrics; default a certificate made at start")
	f.StringVar(&o.PprofAddress, "pprof-bind-address", "", "`host:port` of the profiles (/debug/pprof/) over plain HTTP; default none")
	o.TLS.register(f)
	f.Check(func() error { return o.complete(namespaceFile) })
	return o
}

// complete fills in what depends on the pod and holds the options against each
// other.
func (o *Options) complete(namespaceFile string) error {
	if o.PprofAddress != "" {
		if _, _, err := net.SplitHostPort(o.PprofAddress); err != nil {
			return fmt.Errorf("invalid value %q for flag --pprof-bind-address: want host:port", o.PprofAddress)
		}
	}
	if o.HealthPort != 0 && o.HealthPort == o.MetricsPort {
		return fmt.Errorf("--port and --health-probe-port are both %d: give them different ports", o.HealthPort)
	}
	if o.Namespace != "" {
		return nil
	}
	namespace, err := os.ReadFile(namespaceFile)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("the namespace is not known outside a pod: give --namespace or METALLB_NAMESPACE")
	}
	if err != nil {
		return fmt.Errorf("read the namespace of the pod: %w", err)
	}
	o.Namespace = strings.TrimSpace(string(namespace))
	return nil
}

// Logger returns the logger of the process. It writes JSON, one record a line,
// from the chosen level on.
func (o *Options) Logger(w io.Writer) *slog.Logger {
	return o.LogLevel.Logger(w)
}

// HealthAddress is the address to listen on for health probes, or empty if they
// are disabled.
func (o *Options) HealthAddress() string {
	return listenAddress(o.healthHost, o.HealthPort)
}

// MetricsAddress is the address to listen on for metrics, or empty if they are
// disabled.
func (o *Options) MetricsAddress() string {
	return listenAddress("", o.MetricsPort)
}

func listenAddress(host string, port uint16) string {
	if port == 0 {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// RESTConfig says how to reach the API server: by the kubeconfig if one was
// given, else as the pod's ServiceAccount. userAgent appears in the API
// server's audit log and metrics.
func (o *Options) RESTConfig(userAgent string) (*rest.Config, error) {
	config, err := o.restConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = userAgent
	return config, nil
}

func (o *Options) restConfig() (*rest.Config, error) {
	if o.Kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the API server from inside a pod (give --kubeconfig outside one): %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", o.Kubeconfig, err)
	}
	return config, nil
}
