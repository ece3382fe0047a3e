// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// firstProbes is how often a container is probed until it is ready for the first
// time, whatever its manifest says: its readiness should show at once.
const firstProbes = 100 * time.Millisecond

// probe runs all probes of a container until ctx ends.
func (c *Container) probe(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, run := range []func(restarted <-chan struct{}){
		func(restarted <-chan struct{}) {
			c.repeat(ctx, c.spec.StartupProbe, restarted, true, func(ok bool) { c.set(&c.started, ok) })
		},
		func(restarted <-chan struct{}) {
			c.repeat(ctx, c.spec.ReadinessProbe, restarted, true, func(ok bool) { c.set(&c.ready, ok) })
		},
		func(restarted <-chan struct{}) {
			c.repeat(ctx, c.spec.LivenessProbe, restarted, false, c.judgeLife)
		},
	} {
		wg.Go(func() { run(c.restarted[i]) })
	}
}

// judgeLife ends a container that does not show signs of life; its keeper starts
// it again.
func (c *Container) judgeLife(ok bool) {
	if ok {
		return
	}
	c.runner.log.Warn("liveness probe fails; restart container", "container", c.spec.Name)
	if err := c.Signal(syscall.SIGKILL); err != nil {
		c.runner.log.Debug("restart container", "error", err)
	}
}

func (c *Container) set(field *bool, value bool) {
	c.mu.Lock()
	changed := *field != value
	*field = value
	c.mu.Unlock()
	if changed {
		c.runner.ring()
	}
}

// repeat probes and reports each verdict that the thresholds allow. Without a
// probe, a running container passes. In a hurry, the initial delay is skipped and
// the probe repeated quickly until it passes.
func (c *Container) repeat(ctx context.Context, p *corev1.Probe, restarted <-chan struct{}, hurry bool, report func(bool)) {
	if p == nil {
		p = &corev1.Probe{}
	}
	failureThreshold := cmp.Or(p.FailureThreshold, 3)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failures int32
	passed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-restarted:
			failures, passed = 0, false
		case <-timer.C:
		}
		next := seconds(p.PeriodSeconds, 10*time.Second)
		began, running := c.runningSince()
		switch {
		case !running, time.Since(began) < seconds(p.InitialDelaySeconds, 0) && !hurry:
			next = firstProbes
		case c.attempt(ctx, p) == nil:
			failures, passed = 0, true
			report(true)
		case !passed && hurry:
			next = firstProbes
		default:
			if failures++; failures >= failureThreshold {
				failures = 0
				report(false)
			}
		}
		timer.Reset(next)
	}
}

func seconds(n int32, standard time.Duration) time.Duration {
	if n <= 0 {
		return standard
	}
	return time.Duration(n) * time.Second
}

func (c *Container) runningSince() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.event.Ended || c.event.Child == nil {
		return time.Time{}, false
	}
	return c.event.Child.Started(), true
}

// attempt probes once, from the node.
func (c *Container) attempt(ctx context.Context, p *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(p.TimeoutSeconds, time.Second))
	defer cancel()
	host := c.runner.addresses[0].String()
	switch {
	case p.HTTPGet != nil:
		return c.probeHTTP(ctx, p.HTTPGet, cmp.Or(p.HTTPGet.Host, host))
	case p.TCPSocket != nil:
		address, err := c.probeAddress(cmp.Or(p.TCPSocket.Host, host), p.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := c.runner.node.Netns.Dial(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	case p.Exec != nil || p.GRPC != nil:
		return fmt.Errorf("probe %s: the lab supports httpGet and tcpSocket only", c.Name())
	}
	return nil
}

func (c *Container) probeHTTP(ctx context.Context, get *corev1.HTTPGetAction, host string) error {
	address, err := c.probeAddress(host, get.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+get.Path, nil)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Set(h.Name, h.Value)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:       c.runner.node.Netns.Dial,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // as the kubelet does
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("probe %s: %s", request.URL, response.Status)
	}
	return nil
}

// probeAddress resolves a port that may be a name.
func (c *Container) probeAddress(host string, port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return net.JoinHostPort(host, port.String()), nil
	}
	for _, p := range c.spec.Ports {
		if p.Name == port.StrVal {
			return net.JoinHostPort(host, itoa(p.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("probe %s: it has no port %q", c.Name(), port.StrVal)
}
