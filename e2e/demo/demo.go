// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	topology = "e2e/topologies/l2.clab.yml"
	lanLink  = "eth1"
	// patience is how long a step that takes a second or two may take on a busy machine.
	patience = time.Minute
)

// picture is e2e/topologies/l2.clab.yml. All of it is network namespaces on one machine.
const picture = `
k8s-worker ----+
k8s-worker2 ---+--- lan (a switch) ---- client1
k8s-worker3 ---+

`

// demo is the story and those who play in it.
type demo struct {
	tell *narrator
	keep bool

	lab    *lab.Lab
	client *lab.Host
	// nodeOf maps hardware addresses on the LAN to nodes.
	nodeOf map[string]string
	// addrs are the Service's addresses, IPv4 first.
	addrs []netip.Addr
	owner string
}

// play tells the whole story. Whatever happens, nothing is left behind, except for the
// lab if it is to be kept.
func play(ctx context.Context, out io.Writer, keep bool) (err error) {
	d := &demo{tell: &narrator{out: out}, keep: keep}
	d.tell.show(picture)
	if err := d.bringUp(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.end(ctx, err)) }()
	for _, chapter := range []func(context.Context) error{
		d.install, d.publish, d.visit, d.cutOff,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// bringUp starts the lab and learns who is who on the LAN.
func (d *demo) bringUp(ctx context.Context) error {
	options := lab.Options{Topology: topology, Progress: d.tell.show}
	if d.keep {
		options.Name = "demo"
	}
	return d.tell.step("bringing up a Kubernetes cluster of three nodes", func() (err error) {
		if d.lab, err = lab.Start(ctx, options); err != nil {
			return err
		}
		if err := d.meet(); err != nil {
			return errors.Join(err, d.lab.Close())
		}
		return nil
	})
}

func (d *demo) meet() (err error) {
	if d.client, err = d.lab.Client("client1"); err != nil {
		return err
	}
	d.nodeOf = map[string]string{}
	for _, node := range d.lab.Nodes() {
		mac, err := node.MAC(lanLink)
		if err != nil {
			return err
		}
		d.nodeOf[mac.String()] = node.Name()
	}
	return nil
}

// install applies config/default as a user does.
func (d *demo) install(ctx context.Context) error {
	return d.tell.step("kubectl apply -k config/default", func() error {
		if err := d.kubectl(ctx, "apply", "-k", "config/default"); err != nil {
			return err
		}
		if err := d.kubectl(ctx, "-n", "metallb-system", "rollout", "status", "deployment/controller", "--timeout=60s"); err != nil {
			return err
		}
		return d.kubectl(ctx, "-n", "metallb-system", "rollout", "status", "daemonset/speaker", "--timeout=60s")
	})
}

// publish applies a pool, an advertisement, a Service and its pods, and waits for the
// Service's addresses.
func (d *demo) publish(ctx context.Context) error {
	samples := []string{"config/samples/l2-quickstart.yaml", "config/samples/service.yaml", "e2e/demo/web.yaml"}
	err := d.tell.step("kubectl apply -f "+strings.Join(samples, " -f "), func() error {
		args := []string{"apply"}
		for _, file := range samples {
			args = append(args, "-f", file)
		}
		if err := d.kubectl(ctx, args...); err != nil {
			return err
		}
		if err := d.kubectl(ctx, "rollout", "status", "deployment/web", "--timeout=60s"); err != nil {
			return err
		}
		return expect(ctx, "two addresses for the Service", d.readAddresses)
	})
	if err != nil {
		return err
	}
	d.tell.say("> kubectl get service web")
	out, err := d.lab.Kubectl(ctx, "get", "service", "web")
	if err != nil {
		return err
	}
	d.tell.show(out)
	return nil
}

func (d *demo) readAddresses(ctx context.Context) error {
	service, err := d.lab.Clientset().CoreV1().Services(corev1.NamespaceDefault).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	d.addrs = nil
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		addr, err := netip.ParseAddr(ingress.IP)
		if err != nil {
			return fmt.Errorf("read the Service's status: %w", err)
		}
		d.addrs = append(d.addrs, addr)
	}
	if len(d.addrs) != 2 || !d.addrs[0].Is4() || !d.addrs[1].Is6() {
		return fmt.Errorf("want one of IPv4 and one of IPv6, have %v", d.addrs)
	}
	return nil
}

// kubectl runs kubectl for its effect.
func (d *demo) kubectl(ctx context.Context, args ...string) error {
	_, err := d.lab.Kubectl(ctx, args...)
	return err
}

// expect waits until the condition has no error, and no longer than patience.
func expect(ctx context.Context, what string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := await.Until(ctx, patience, 50*time.Millisecond, func() error { return condition(ctx) }); err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}
