// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/lab/netns"
)

// start brings a lab up for a test, or skips the test where there cannot be one.
func start(t *testing.T, o lab.Options) (context.Context, *lab.Lab) {
	t.Helper()
	if testing.Short() {
		t.Skip("brings up a cluster, which takes seconds, and minutes the first time")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: the lab creates network namespaces")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	o.Progress = func(sentence string) { t.Log(sentence) }
	l, err := lab.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		assertGone(t, l.Name(), l.Dir())
	})
	return ctx, l
}

// assertGone checks that a lab has left nothing on the machine.
func assertGone(t *testing.T, name, dir string) {
	t.Helper()
	if names, err := netns.List("hl-" + name + "-"); err != nil || len(names) > 0 {
		t.Errorf("namespaces are left: %v, %v", names, err)
	}
	if _, err := os.Stat("/sys/class/net/hl-" + name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link to the machine is left: %v", err)
	}
	if _, err := os.Stat("/run/herald-lab/" + name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is left: %v", err)
	}
	if pids := processesNaming(t, dir); len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), "hl-"+name+"-") || strings.Contains(string(mounts), dir+"/") {
		t.Error("mounts are left")
	}
}

// processesNaming returns the processes whose command line mentions a directory.
func processesNaming(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if line, err := os.ReadFile(f); err == nil && strings.Contains(string(line), dir+"/") {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// eventually waits until check is content, and reports its last complaint if
// that does not happen within ten seconds.
func eventually(ctx context.Context, t *testing.T, check func() error) {
	t.Helper()
	if err := await.Until(ctx, 10*time.Second, 20*time.Millisecond, check); err != nil {
		t.Fatal(err)
	}
}

const (
	clusterPort = 30080
	localPort   = 30081
)

var services = lab.EchoManifest("default", "echo", 3) + fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: cluster}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports:
  - {name: tcp, port: 80, targetPort: 8080, nodePort: %[1]d}
  - {name: udp, port: 80, targetPort: 8080, nodePort: %[1]d, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports:
  - {name: tcp, port: 80, targetPort: 8080, nodePort: %[2]d}
  - {name: udp, port: 80, targetPort: 8080, nodePort: %[2]d, protocol: UDP}
`, clusterPort, localPort)

// TestLab brings up l2.clab.yml once and looks at it from all sides. The parts
// build on each other's repairs: each leaves the lab whole.
func TestLab(t *testing.T) {
	ctx, l := start(t, lab.Options{Topology: "e2e/topologies/l2.clab.yml"})
	if err := l.Apply(ctx, services); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Kubectl(ctx, "rollout", "status", "deployment/echo", "--timeout=30s"); err != nil {
		t.Fatal(err)
	}
	client, err := l.Client("client1")
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{ctx: ctx, lab: l, client: client}
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"pods go round the nodes", s.testSpread},
		{"NodePort over all protocols", s.testNodePort},
		{"traffic policy Local", s.testLocal},
		{"ClusterIP from a pod", s.testClusterIP},
		{"readiness", s.testReady},
		{"what a container has", s.testContainer},
		{"kubectl logs", s.testLogs},
		{"neighbours", s.testNeighbors},
		{"capture", s.testCapture},
		{"cut link", s.testCutLink},
		{"lossy link", s.testLossyLink},
		{"partition", s.testPartition},
		{"silence", s.testSilence},
		{"pause", s.testPause},
		{"kill", s.testKill},
		{"node loses power", s.testPower},
		{"API server restarts", s.testAPIServer},
		{"node labels and conditions", s.testNodeObject},
		{"errors name what there is instead", s.testErrors},
	} {
		t.Run(part.name, part.run)
	}
}

// suite is what the parts of TestLab share.
type suite struct {
	ctx    context.Context
	lab    *lab.Lab
	client *lab.Host
}

func (s *suite) node(t *testing.T, name string) *lab.Node {
	t.Helper()
	n, err := s.lab.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func endpoint(addr netip.Addr, port uint16) string { return netip.AddrPortFrom(addr, port).String() }

func (s *suite) testSpread(t *testing.T) {
	pods, err := s.lab.Clientset().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{LabelSelector: "app=echo"})
	if err != nil {
		t.Fatal(err)
	}
	perNode := map[string]int{}
	for _, p := range pods.Items {
		perNode[p.Spec.NodeName]++
	}
	for _, n := range s.lab.Nodes() {
		if perNode[n.Name()] != 1 {
			t.Errorf("%s has %d pods of three, want 1: %v", n.Name(), perNode[n.Name()], perNode)
		}
	}
}

func (s *suite) testNodePort(t *testing.T) {
	for _, n := range s.lab.Nodes() {
		for _, addr := range n.InternalIPs() {
			for _, protocol := range []string{"http", "tcp", "udp"} {
				var reply lab.Reply
				eventually(s.ctx, t, func() (err error) {
					reply, err = s.quick(protocol, endpoint(addr, clusterPort))
					return err
				})
				if _, err := s.lab.Node(reply.Node); err != nil || reply.Protocol != protocol {
					t.Errorf("%s over %s: reply %+v", addr, protocol, reply)
				}
			}
		}
	}
}

func (s *suite) testLocal(t *testing.T) {
	own, err := s.client.Addresses("eth1")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.lab.Nodes() {
		for _, addr := range n.InternalIPs() {
			for _, protocol := range []string{"tcp", "udp"} {
				var reply lab.Reply
				eventually(s.ctx, t, func() (err error) {
					reply, err = s.quick(protocol, endpoint(addr, localPort))
					return err
				})
				if reply.Node != n.Name() || reply.Client.Addr() != own[0] && reply.Client.Addr() != own[1] {
					t.Errorf("%s over %s: reply %+v, want one from %s that sees the client %v", addr, protocol, reply, n.Name(), own)
				}
			}
		}
	}
}

// testClusterIP asks from a pod's own namespace.
func (s *suite) testClusterIP(t *testing.T) {
	service, err := s.lab.Clientset().CoreV1().Services("default").Get(s.ctx, "cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := s.lab.Clientset().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{LabelSelector: "app=echo"})
	if err != nil {
		t.Fatal(err)
	}
	p := pods.Items[0]
	pod, err := lab.OpenHost(s.lab.Name(), p.Spec.NodeName+"-"+p.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range service.Spec.ClusterIPs {
		conn, err := pod.Dial(s.ctx, "tcp", endpoint(netip.MustParseAddr(ip), 80))
		if err != nil {
			t.Errorf("dial %s from pod: %v", ip, err)
			continue
		}
		conn.Close()
	}
}

func (s *suite) testReady(t *testing.T) {
	pods, err := s.lab.Clientset().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{LabelSelector: "app=echo"})
	if err != nil {
		t.Fatal(err)
	}
	p := pods.Items[0]
	addr := s.node(t, p.Spec.NodeName).InternalIPs()[0]
	if err := s.lab.SetReady(s.ctx, p.Namespace, p.Name, false); err != nil {
		t.Fatal(err)
	}
	eventually(s.ctx, t, func() error {
		if reply, err := s.quick("tcp", endpoint(addr, localPort)); err == nil {
			return fmt.Errorf("a pod that is not ready answers: %+v", reply)
		}
		return nil
	})
	if err := s.lab.SetReady(s.ctx, p.Namespace, p.Name, true); err != nil {
		t.Fatal(err)
	}
	s.awaitReply(t, endpoint(addr, localPort))
}

// quick asks with little patience.
func (s *suite) quick(protocol, address string) (lab.Reply, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	return s.client.Echo(ctx, protocol, address)
}

func (s *suite) awaitReply(t *testing.T, address string) {
	t.Helper()
	eventually(s.ctx, t, func() error { _, err := s.quick("tcp", address); return err })
}

func (s *suite) awaitSilence(t *testing.T, address string) {
	t.Helper()
	eventually(s.ctx, t, func() error {
		if reply, err := s.quick("tcp", address); err == nil {
			return fmt.Errorf("%s still answers: %+v", address, reply)
		}
		return nil
	})
}
