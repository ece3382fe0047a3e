// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/herald-lb/herald/internal/run"
)

func parse(t *testing.T, env map[string]string, args ...string) (o *options, flags *run.FlagSet, code int, done bool, stderr string) {
	t.Helper()
	flags = run.NewFlagSet(name, "assigns load balancer addresses", func(key string) (string, bool) {
		v, ok := env[key]
		return v, ok
	})
	o = register(flags)
	var out, errs bytes.Buffer
	code, done = flags.Parse(args, &out, &errs)
	return o, flags, code, done, errs.String()
}

// The arguments and variables of MetalLB's own manifests and chart must do.
func TestArgumentsOfMetalLB(t *testing.T) {
	t.Parallel()
	o, flags, _, done, stderr := parse(t,
		map[string]string{
			"METALLB_ML_SECRET_NAME": "memberlist", "METALLB_DEPLOYMENT": "controller",
			"METALLB_NAMESPACE": "metallb-system", "METALLB_POD_NAME": "controller-abc",
		},
		"--port=7472", "--log-level=debug", "--tls-min-version=VersionTLS12", "--webhook-mode=enabled", "--webhook-http2",
		"--disable-cert-rotation=true", "--cert-service-name=metallb-webhook-service", "--lb-class=example.com/lb",
		"--webhook-secret=metallb-webhook-cert", "--cert-dir=/tmp/k8s-webhook-server/serving-certs", "--deployment=x")
	if done {
		t.Fatalf("refused: %s", stderr)
	}
	if o.Namespace != "metallb-system" || o.class != "example.com/lb" || o.secret != "memberlist" || o.podName != "controller-abc" {
		t.Errorf("options %+v", o)
	}
	if got := len(flags.IgnoredFlags()); got != 7 {
		t.Errorf("%d flags are said to be ignored, want 7: %v", got, flags.IgnoredFlags())
	}
}

func TestWrongArgumentIsOneLineAndExitCode2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--no-such-flag"}, {"--namespace=x", "--port=notaport"}, {"--namespace=x", "stray"}, {"--namespace=x", "--log-level=loud"},
	} {
		_, _, code, done, stderr := parse(t, nil, args...)
		if !done || code != run.ExitUsage {
			t.Errorf("%v: exit code %d (%v), want %d", args, code, done, run.ExitUsage)
		}
		if strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: %q is not one line", args, stderr)
		}
	}
}
