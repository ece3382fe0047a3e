// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

func TestQuick(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	start := time.Now()
	l, err := lab.Start(ctx, lab.Options{Topology: "e2e/topologies/l2.clab.yml", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Dir: "/tmp/labdir", Progress: func(s string) { t.Log(time.Since(start), s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("up", time.Since(start))
	defer func() {
		s := time.Now()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		t.Log("closed", time.Since(s))
	}()
	err = l.Apply(ctx, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: default}
spec:
  replicas: 4
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: echo
        image: herald.test/echo
        ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: default}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080, name: tcp},{port: 80, targetPort: 8080, nodePort: 30080, name: udp, protocol: UDP}]
`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := l.Kubectl(ctx, "rollout", "status", "deployment/echo", "--timeout=20s")
	t.Log(out, err, time.Since(start))
	out, err = l.Kubectl(ctx, "get", "pods,svc,endpointslices,nodes", "-o", "wide", "-A")
	t.Log(out, err)
	c, err := l.Client("client1")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.11:30080", "[2001:db8:2::12]:30080"} {
		for _, p := range []string{"http", "tcp", "udp"} {
			r, err := c.Echo(ctx, p, a)
			t.Log(a, p, r, err)
		}
	}
	out, err = c.Exec(ctx, "ip", "neigh")
	t.Log(out, err)
	n, _ := l.Node("k8s-worker")
	out, err = n.Exec(ctx, "ip", "route")
	t.Log(out, err)
	if os.Getenv("WAIT") != "" {
		select {}
	}
}
