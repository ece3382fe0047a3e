// SPDX-License-Identifier: Apache-2.0

// Controller assigns addresses from IPAddressPools to Services of type LoadBalancer.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/herald-lb/herald/controller/internal/assign"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/run"
)

const (
	name = "controller"
	// leaseName is the Lease that replicas compete for. The RBAC rules name it.
	leaseName = "metallb-controller"
	// gcPercent trades processor time, of which a controller uses little, for memory:
	// most of the heap is the informers' objects, which live long.
	gcPercent = 40
)

func main() { os.Exit(start()) }

// options are the controller's own flags.
type options struct {
	*run.Options
	class, secret, podName string
}

func start() int {
	flags := run.NewFlagSet(name, "assigns load balancer addresses", os.LookupEnv)
	o := register(flags)
	if code, done := flags.Parse(os.Args[1:], os.Stdout, os.Stderr); done {
		return code
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := o.Logger(os.Stderr)
	run.BridgeKlog(log, o.LogLevel)
	for _, ignored := range flags.IgnoredFlags() {
		log.Info("flag without effect", "flag", ignored)
	}
	ctx, stop := run.SignalContext(context.Background())
	defer stop()
	log.Info("starting", "version", run.Version())
	return run.ExitCode(log, serve(ctx, o, log))
}

func register(flags *run.FlagSet) *options {
	o := &options{Options: run.RegisterOptions(flags, run.Defaults{})}
	flags.StringVar(&o.class, "lb-class", "", "`class` of the Services to serve; default those without a loadBalancerClass")
	flags.StringVar(&o.secret, "ml-secret-name", "", "`name` of the Secret with the speakers' gossip key, made if it is missing; default none")
	flags.Env("ml-secret-name", "METALLB_ML_SECRET_NAME")
	flags.StringVar(&o.podName, "pod-name", "", "`name` of the pod, under which it competes for leadership; default the host name")
	flags.Env("pod-name", "METALLB_POD_NAME")

	const noWebhook = "there is no webhook; the API server validates by the CRDs' own rules"
	flags.Ignored("webhook-mode", true, noWebhook)
	flags.Ignored("webhook-secret", true, noWebhook)
	flags.Ignored("webhook-http2", false, noWebhook)
	flags.Ignored("disable-cert-rotation", false, noWebhook)
	flags.Ignored("cert-dir", true, noWebhook)
	flags.Ignored("cert-service-name", true, noWebhook)
	flags.Ignored("deployment", true, "the memberlist Secret has no owner; delete it with the namespace")
	flags.Env("deployment", "METALLB_DEPLOYMENT")
	return o
}

// serve wires the parts together and runs them until ctx ends.
func serve(ctx context.Context, o *options, log *slog.Logger) error {
	config, err := o.RESTConfig("herald-controller")
	if err != nil {
		return err
	}
	client, err := kube.NewClient(config)
	if err != nil {
		return err
	}
	lock, err := lease(config, o)
	if err != nil {
		return err
	}
	registry := run.NewRegistry()
	controller, err := assign.New(assign.Config{
		Client:    client,
		Lease:     types.NamespacedName{Namespace: o.Namespace, Name: leaseName},
		Lock:      lock,
		Namespace: o.Namespace,
		Class:     o.class,
		Secret:    o.secret,
		Metrics:   registry,
		Log:       log,
	})
	if err != nil {
		return err
	}
	tasks, err := serverTasks(controller, o, registry, config, log)
	if err != nil {
		return err
	}
	return run.Tasks(ctx, log, append(tasks, run.Task{Name: name, Run: controller.Run})...)
}

func serverTasks(c *assign.Controller, o *options, metrics prometheus.Gatherer, config *rest.Config, log *slog.Logger) ([]run.Task, error) {
	probes := run.Probes{Ready: []run.Check{{Name: "informers", Probe: c.Ready}}}
	return run.ServerTasks("metallb-"+name, o.Options, probes, metrics, config, log)
}

// lease returns the lock that replicas compete for. A restarted container is the same
// pod, and need not wait for its own Lease to run out.
func lease(config *rest.Config, o *options) (resourcelock.Interface, error) {
	client, err := coordination.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the client for the Lease: %w", err)
	}
	identity := o.podName
	if identity == "" {
		if identity, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("find a name to compete for leadership under (give --pod-name): %w", err)
		}
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: leaseName},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}, nil
}
