// SPDX-License-Identifier: Apache-2.0

package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

func (s *suite) testNeighbors(t *testing.T) {
	n := s.node(t, "k8s-worker")
	want, err := n.MAC("eth1")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range n.InternalIPs() {
		// The last segments of earlier connections may make the client ask again.
		eventually(s.ctx, t, func() error {
			if err := s.client.FlushNeighbors(); err != nil {
				return err
			}
			mac, err := s.client.MACOf(addr)
			if errors.Is(err, lab.ErrNoNeighbor) {
				return nil
			}
			if err == nil {
				err = fmt.Errorf("after a flush, %s is at %v", addr, mac)
			}
			return err
		})
		s.awaitReply(t, endpoint(addr, clusterPort))
		if mac, err := s.client.MACOf(addr); err != nil || mac.String() != want.String() {
			t.Errorf("%s is at %v, %v; want %v", addr, mac, err, want)
		}
	}
}

func (s *suite) testCapture(t *testing.T) {
	capture, err := s.client.Capture("eth1")
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	if err := s.client.FlushNeighbors(); err != nil {
		t.Fatal(err)
	}
	n := s.node(t, "k8s-worker")
	s.awaitReply(t, endpoint(n.InternalIPs()[0], clusterPort))
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	const arp = 0x0806
	var directions []string
	for len(directions) < 2 {
		frame, err := capture.Next(ctx)
		if err != nil {
			t.Fatalf("%v, after ARP %v", err, directions)
		}
		if frame.EtherType() == arp {
			directions = append(directions, fmt.Sprintf("sent=%t", frame.Sent))
		}
	}
	if got := strings.Join(directions, " "); got != "sent=true sent=false" {
		t.Errorf("ARP frames: %s, want a request sent and a reply received", got)
	}
}

func (s *suite) testCutLink(t *testing.T) {
	n := s.node(t, "k8s-worker2")
	address := endpoint(n.InternalIPs()[1], clusterPort)
	if err := s.lab.CutLink("k8s-worker2:eth1"); err != nil {
		t.Fatal(err)
	}
	s.awaitSilence(t, address)
	link, err := n.Exec(s.ctx, "ip", "link", "show", "eth1")
	if err != nil || !strings.Contains(link, "NO-CARRIER") || !strings.Contains(link, "UP") {
		t.Errorf("the node sees %q, %v; want an interface that is up and has no carrier", link, err)
	}
	if err := s.lab.RestoreLink("k8s-worker2:eth1"); err != nil {
		t.Fatal(err)
	}
	s.awaitReply(t, address)
}

func (s *suite) testLossyLink(t *testing.T) {
	address := endpoint(s.node(t, "k8s-worker").InternalIPs()[0], clusterPort)
	if err := s.lab.Lose(s.ctx, "client1:eth1", 100); err != nil {
		t.Fatal(err)
	}
	s.awaitSilence(t, address)
	if err := s.lab.Lose(s.ctx, "client1:eth1", 30); err != nil {
		t.Fatal(err)
	}
	// Of 100 datagrams each way at 30 percent, all or none coming back has a
	// chance of less than one in 10^28.
	if back := s.countUDP(t, address, 100); back == 0 || back == 100 {
		t.Errorf("%d of 100 datagrams came back over a link that loses 30 %%", back)
	}
	if err := s.lab.Lose(s.ctx, "client1:eth1", 0); err != nil {
		t.Fatal(err)
	}
	if back := s.countUDP(t, address, 100); back != 100 {
		t.Errorf("%d of 100 datagrams came back over a whole link", back)
	}
}

// countUDP sends datagrams and counts the replies.
func (s *suite) countUDP(t *testing.T, address string, n int) int {
	t.Helper()
	conn, err := s.client.Dial(s.ctx, "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write([]byte("who\n")); err != nil {
			t.Fatal(err)
		}
	}
	back := 0
	buffer := make([]byte, 2048)
	for back < n {
		if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buffer); err != nil {
			return back
		}
		back++
	}
	return back
}

func (s *suite) testPartition(t *testing.T) {
	cut, kept := s.node(t, "k8s-worker"), s.node(t, "k8s-worker2")
	if err := s.lab.Partition(s.ctx, []string{"client1", "k8s-worker2"}, []string{"k8s-worker"}); err != nil {
		t.Fatal(err)
	}
	s.awaitSilence(t, endpoint(cut.InternalIPs()[0], localPort))
	s.awaitReply(t, endpoint(kept.InternalIPs()[0], localPort))
	if err := dialTwice(s.ctx, cut, endpoint(kept.InternalIPs()[0], localPort)); err == nil {
		t.Error("a node reaches another across the partition")
	}
	if err := s.lab.Partition(s.ctx, []string{"control-plane"}, []string{"k8s-worker"}); err != nil {
		t.Fatal(err)
	}
	if err := dialTwice(s.ctx, cut, "10.96.0.1:443"); err == nil {
		t.Error("a node reaches the API server across the partition")
	}
	if err := s.lab.Heal(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.awaitReply(t, endpoint(cut.InternalIPs()[0], localPort))
	eventually(s.ctx, t, func() error { return dialTwice(s.ctx, cut, "10.96.0.1:443") })
}

// A node that is not heard hears the others: their datagrams arrive, its own do not.
func (s *suite) testSilence(t *testing.T) {
	mute, other := s.node(t, "k8s-worker"), s.node(t, "k8s-worker2")
	tap, err := mute.Capture("eth1")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	if err := s.lab.Silence(s.ctx, []string{"k8s-worker"}, []string{"k8s-worker2"}); err != nil {
		t.Fatal(err)
	}
	if err := other.FlushNeighbors(); err != nil {
		t.Fatal(err)
	}
	address := endpoint(mute.InternalIPs()[0], localPort)
	if err := dialTwice(s.ctx, other, address); err == nil {
		t.Error("a node is answered by one that it should not hear")
	}
	mac, err := other.MAC("eth1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	for heard := false; !heard; {
		frame, err := tap.Next(ctx)
		if err != nil {
			t.Fatalf("wait for a frame of the other node: %v", err)
		}
		heard = !frame.Sent && bytes.Equal(frame.Bytes[6:12], mac)
	}
	if err := s.lab.Heal(s.ctx); err != nil {
		t.Fatal(err)
	}
	eventually(s.ctx, t, func() error { return dialTwice(s.ctx, other, address) })
}

func dialTwice(ctx context.Context, h *lab.Node, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", address)
	if err == nil {
		err = conn.Close()
	}
	return err
}

func (s *suite) testPause(t *testing.T) {
	pods, err := s.lab.Clientset().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{LabelSelector: "app=echo"})
	if err != nil {
		t.Fatal(err)
	}
	p := pods.Items[0]
	target := p.Spec.NodeName + "/" + p.Name
	address := endpoint(s.node(t, p.Spec.NodeName).InternalIPs()[0], localPort)
	if err := s.lab.Pause(target); err != nil {
		t.Fatal(err)
	}
	s.awaitSilence(t, address)
	if err := s.lab.Continue(target); err != nil {
		t.Fatal(err)
	}
	s.awaitReply(t, address)
}

func (s *suite) testKill(t *testing.T) {
	// In this order: a kube-proxy 1.34 that is killed within a second after an
	// endpoint went away takes the emptied chain for a complete one when it starts.
	for _, target := range []string{"k8s-worker3/kube-proxy", "k8s-worker3/echo"} {
		before, err := s.lab.PID(target)
		if err != nil || before == 0 {
			t.Fatalf("%s is process %d, %v", target, before, err)
		}
		if err := s.lab.Kill(target); err != nil {
			t.Fatal(err)
		}
		eventually(s.ctx, t, func() error {
			after, err := s.lab.PID(target)
			if err == nil && (after == 0 || after == before) {
				err = fmt.Errorf("%s is process %d and was %d", target, after, before)
			}
			return err
		})
	}
	s.awaitReply(t, endpoint(s.node(t, "k8s-worker3").InternalIPs()[0], localPort))
}

func (s *suite) testPower(t *testing.T) {
	n := s.node(t, "k8s-worker3")
	address := endpoint(n.InternalIPs()[0], localPort)
	pid, err := s.lab.PID("k8s-worker3/echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Kill(s.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Error("a process of the dead node lives on")
	}
	s.awaitSilence(t, address)
	if err := n.Revive(); err != nil {
		t.Fatal(err)
	}
	s.awaitReply(t, address)
	s.awaitAddresses(t)
}

// awaitAddresses waits until every endpoint slice has the pods' addresses of
// now: a revived node's pods have new ones.
func (s *suite) awaitAddresses(t *testing.T) {
	t.Helper()
	for _, n := range s.lab.Nodes() {
		for _, addr := range n.InternalIPs() {
			for range 10 {
				s.awaitReply(t, endpoint(addr, clusterPort))
			}
		}
	}
}

func (s *suite) testAPIServer(t *testing.T) {
	if err := s.lab.StopAPIServer(s.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lab.Kubectl(s.ctx, "get", "nodes", "--request-timeout=2s"); err == nil {
		t.Error("a stopped API server answers")
	}
	s.awaitReply(t, endpoint(s.node(t, "k8s-worker").InternalIPs()[0], clusterPort))
	if err := s.lab.RestartAPIServer(s.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lab.Kubectl(s.ctx, "scale", "deployment/echo", "--replicas=6"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lab.Kubectl(s.ctx, "rollout", "status", "deployment/echo", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lab.Kubectl(s.ctx, "scale", "deployment/echo", "--replicas=3"); err != nil {
		t.Fatal(err)
	}
	eventually(s.ctx, t, func() error {
		pods, err := s.lab.Clientset().CoreV1().Pods("default").List(s.ctx, metav1.ListOptions{LabelSelector: "app=echo"})
		if err == nil && len(pods.Items) != 3 {
			err = fmt.Errorf("%d pods are left of 3", len(pods.Items))
		}
		return err
	})
}

func (s *suite) testNodeObject(t *testing.T) {
	n := s.node(t, "k8s-worker")
	for _, value := range []string{"a", ""} {
		if err := n.Label(s.ctx, "rack", value); err != nil {
			t.Fatal(err)
		}
		object, err := s.lab.Clientset().CoreV1().Nodes().Get(s.ctx, n.Name(), metav1.GetOptions{})
		if err != nil || object.Labels["rack"] != value {
			t.Errorf("label rack is %q, %v; want %q", object.Labels["rack"], err, value)
		}
	}
	for _, status := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse} {
		if err := n.SetCondition(s.ctx, corev1.NodeNetworkUnavailable, status); err != nil {
			t.Fatal(err)
		}
		object, err := s.lab.Clientset().CoreV1().Nodes().Get(s.ctx, n.Name(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[corev1.NodeConditionType]corev1.ConditionStatus{}
		for _, c := range object.Status.Conditions {
			seen[c.Type] = c.Status
		}
		if seen[corev1.NodeNetworkUnavailable] != status || seen[corev1.NodeReady] != corev1.ConditionTrue {
			t.Errorf("conditions are %v, want NetworkUnavailable %s and Ready True", seen, status)
		}
	}
}

// testLogs asks plain kubectl, which goes by the API server and the node.
func (s *suite) testLogs(t *testing.T) {
	if err := s.lab.Apply(s.ctx, `apiVersion: v1
kind: Pod
metadata: {name: talker, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: echo, args: ["nonsense"]}
`); err != nil {
		t.Fatal(err)
	}
	eventually(s.ctx, t, func() error {
		out, err := s.lab.Kubectl(s.ctx, "logs", "talker", "--tail=1")
		if err == nil && out != "read ports: \"nonsense\", want a number from 1 to 65535\n" {
			err = fmt.Errorf("kubectl logs prints %q", out)
		}
		return err
	})
	eventually(s.ctx, t, func() error {
		out, err := s.lab.Kubectl(s.ctx, "get", "pod", "talker", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.exitCode}")
		if err == nil && (strings.HasPrefix(out, "0") || !strings.HasSuffix(out, " 1")) {
			err = fmt.Errorf("restarts and exit code are %q", out)
		}
		return err
	})
	if _, err := s.lab.Kubectl(s.ctx, "delete", "pod", "talker"); err != nil {
		t.Error(err)
	}
}

// testContainer looks at a container from inside and outside: it must have what
// its manifest gives it, and nothing else.
func (s *suite) testContainer(t *testing.T) {
	if err := s.lab.Apply(s.ctx, `apiVersion: v1
kind: Secret
metadata: {name: key, namespace: default}
stringData: {word: open}
---
apiVersion: v1
kind: Pod
metadata: {name: jail, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  nodeSelector: {kubernetes.io/hostname: k8s-worker2}
  securityContext: {runAsUser: 0}
  containers:
  - name: c
    image: echo
    securityContext:
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL], add: [NET_RAW]}
    volumeMounts: [{name: key, mountPath: /etc/key, readOnly: true}]
  volumes: [{name: key, secret: {secretName: key, defaultMode: 256}}]
`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lab.Kubectl(s.ctx, "wait", "--for=condition=Ready", "pod/jail", "--timeout=20s"); err != nil {
		t.Fatal(err)
	}
	pid, err := s.lab.PID("k8s-worker2/jail")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CapPrm:\t0000000000002000", "CapEff:\t0000000000002000", "CapBnd:\t0000000000002000", "CapInh:\t0000000000000000",
		"NoNewPrivs:\t1", "NSpid:\t" + fmt.Sprint(pid) + "\t1",
	} {
		if !strings.Contains(string(status), want+"\n") {
			t.Errorf("the process's status lacks %q", want)
		}
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	if word, err := os.ReadFile(root + "/etc/key/word"); err != nil || string(word) != "open" {
		t.Errorf("the Secret holds %q, %v", word, err)
	}
	for _, outside := range []string{"/usr", "/home", "/run/herald-lab"} {
		if _, err := os.Stat(root + outside); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the container sees the machine's %s: %v", outside, err)
		}
	}
	token, err := os.ReadFile(root + "/var/run/secrets/kubernetes.io/serviceaccount/token")
	if err != nil || strings.Count(string(token), ".") != 2 {
		t.Errorf("the token is %q, %v", token, err)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", pid))
	if err != nil || !strings.HasPrefix(string(mounts), "tmpfs / tmpfs ro,") {
		t.Errorf("the root is mounted %.60q, %v; want read-only", mounts, err)
	}
	if _, err := s.lab.Kubectl(s.ctx, "delete", "pod/jail", "secret/key"); err != nil {
		t.Error(err)
	}
}

func (s *suite) testErrors(t *testing.T) {
	_, clientError := s.lab.Client("k8s-worker")
	_, hostError := s.lab.Host("k8s-worker9")
	for _, c := range []struct {
		err  error
		want string
	}{
		{clientError, "it is a node"},
		{hostError, "k8s-worker2"},
		{s.lab.CutLink("k8s-worker:eth9"), "k8s-worker:eth1"},
		{s.lab.Lose(s.ctx, "client1:eth1", 101), "0 to 100"},
		{s.lab.Partition(s.ctx, []string{"client1"}, []string{"client1"}), "both sides"},
		{s.lab.Silence(s.ctx, []string{"client1"}, []string{"client2"}), "client2"},
		{s.lab.Kill("echo"), "HOST/NAME"},
		{s.lab.Kill("control-plane/kube-scheduler"), "kube-apiserver"},
		{s.lab.Kill("k8s-worker/nothing"), "k8s-worker/nothing"},
		{s.lab.Apply(s.ctx, "kind: Nothing\napiVersion: v1\nmetadata: {name: x}\n"), "Nothing"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("error %v, want one that contains %q", c.err, c.want)
		}
	}
}
