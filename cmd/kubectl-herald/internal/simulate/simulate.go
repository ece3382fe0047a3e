// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/herald-lb/herald/cmd/kubectl-herald/internal/manifest"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/run"
	"github.com/herald-lb/herald/internal/whatif"
)

// ExitDisrupts is the exit status if a Service would move or lose an address.
const ExitDisrupts = 3

// Streams are what a verb reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run carries out the verb with its arguments and returns the exit status. now is the
// time at which new objects are taken to be made.
func Run(ctx context.Context, args []string, streams Streams, now time.Time) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printUsage(streams.Out)
		return run.ExitOK
	case err != nil:
		fmt.Fprintf(streams.Err, "simulate: %v (see kubectl herald simulate --help)\n", err)
		return run.ExitUsage
	}
	code, err := o.run(ctx, streams, now)
	if err != nil {
		fmt.Fprintf(streams.Err, "error: %v\n", err)
		return run.ExitFailure
	}
	return code
}

func (o options) run(ctx context.Context, streams Streams, now time.Time) (code int, err error) {
	set, err := manifest.Read(o.files, streams.In, o.namespace)
	if err != nil {
		return 0, err
	}
	client, err := o.client()
	if err != nil {
		return 0, err
	}
	snapshot, err := o.read(ctx, client, now)
	if err != nil {
		return 0, err
	}
	steps := set.Apply(snapshot.Objects, metav1.NewTime(now.Truncate(time.Second)))
	unchecked, err := validate(ctx, client, set)
	if err != nil {
		return 0, err
	}
	if o.prune {
		steps = append(steps, set.Prune(last(snapshot.Objects, steps))...)
	}
	a := answer{
		Report:    whatif.Simulate(snapshot, steps...),
		atOnce:    whatif.Simulate(snapshot, last(snapshot.Objects, steps)),
		unchecked: unchecked,
	}
	if err := a.print(streams.Out, o); err != nil {
		return 0, err
	}
	return a.exitCode(set)
}

// last returns the last of the steps, or without steps the present.
func last(present lb.Objects, steps []lb.Objects) lb.Objects {
	if len(steps) == 0 {
		return present
	}
	return steps[len(steps)-1]
}

// exitCode returns an error if an object of the manifests is useless, which says more
// than what happens without it.
func (a answer) exitCode(set manifest.Set) (int, error) {
	for _, r := range a.Rejected {
		i := slices.IndexFunc(set, func(o manifest.Object) bool { return o.Name() == r.Object })
		if r.Unusable && i >= 0 {
			return 0, fmt.Errorf("%s: %s is invalid and would be left out: %s", set[i].Where, r.Object, r.Message)
		}
	}
	if a.Disrupts() {
		return ExitDisrupts, nil
	}
	return run.ExitOK, nil
}

func (o options) client() (*kube.Client, error) {
	config, err := o.restConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	config.UserAgent = "kubectl-herald"
	return kube.NewClient(config)
}

// restConfig finds the API server as kubectl does.
func (o options) restConfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.context}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
}
