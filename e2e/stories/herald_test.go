// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

// pods returns the running pods of one of Herald's components.
func (s *story) podsOf(component string) []corev1.Pod {
	s.Helper()
	list, err := s.api().CoreV1().Pods(heraldNS).List(s.ctx, metav1.ListOptions{LabelSelector: "component=" + component})
	s.must(err)
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			pods = append(pods, pod)
		}
	}
	return pods
}

// speakerOn returns the speaker's pod on a node.
func (s *story) speakerOn(node string) corev1.Pod {
	s.Helper()
	for _, pod := range s.podsOf("speaker") {
		if pod.Spec.NodeName == node {
			return pod
		}
	}
	s.Fatalf("no speaker runs on %s", node)
	panic("unreachable")
}

// leader returns the controller's pod that holds the Lease.
func (s *story) leader() (corev1.Pod, error) {
	lease, err := s.api().CoordinationV1().Leases(heraldNS).Get(s.ctx, "metallb-controller", metav1.GetOptions{})
	if err != nil {
		return corev1.Pod{}, err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return corev1.Pod{}, errors.New("nobody holds the Lease")
	}
	for _, pod := range s.podsOf("controller") {
		if strings.Contains(*lease.Spec.HolderIdentity, pod.Name) {
			return pod, nil
		}
	}
	return corev1.Pod{}, fmt.Errorf("the Lease is held by %s, which is no controller's pod", *lease.Spec.HolderIdentity)
}

// expectLeader waits until one of the controllers leads.
func (s *story) expectLeader() corev1.Pod {
	s.Helper()
	var leader corev1.Pod
	s.await(time.Minute, "a controller that leads", func() (err error) {
		leader, err = s.leader()
		return err
	})
	return leader
}

// restart replaces all pods of a workload, as an upgrade does, and waits until the new
// ones are ready.
func (s *story) restart(workload string) {
	s.Helper()
	s.awaitNextSecond() // kubectl restarts a workload once a second at most
	s.kubectl("-n", heraldNS, "rollout", "restart", workload)
	s.awaitRollout(workload)
}

func (s *story) awaitRollout(workload string) {
	s.Helper()
	s.kubectl("-n", heraldNS, "rollout", "status", workload, "--timeout=90s")
}

// givenFlag runs a workload with more flags until the story ends.
func (s *story) givenFlag(workload string, flags ...string) {
	s.Helper()
	const args = "/spec/template/spec/containers/0/args"
	patch := func(operations []string) {
		s.Helper()
		s.kubectl("-n", heraldNS, "patch", workload, "--type=json", "-p", "["+strings.Join(operations, ",")+"]")
		s.awaitRollout(workload)
	}
	var add, remove []string
	for _, flag := range flags {
		add = append(add, `{"op":"add","path":"`+args+`/0","value":"`+flag+`"}`)
		remove = append(remove, `{"op":"remove","path":"`+args+`/0"}`)
	}
	s.afterwards(func() { patch(remove) })
	patch(add)
}

// scaleController sets how many controllers run, and waits until it is so.
func (s *story) scaleController(replicas int) {
	s.Helper()
	s.kubectl("-n", heraldNS, "scale", "deployment/controller", fmt.Sprintf("--replicas=%d", replicas))
	s.awaitRollout("deployment/controller")
	s.await(time.Minute, fmt.Sprintf("%d controllers", replicas), func() error {
		list, err := s.api().CoreV1().Pods(heraldNS).List(s.ctx, metav1.ListOptions{LabelSelector: "component=controller"})
		if err == nil && len(list.Items) != replicas {
			err = fmt.Errorf("there are %d", len(list.Items))
		}
		return err
	})
}

// target is how the lab names a component's process.
func target(pod corev1.Pod) string { return pod.Spec.NodeName + "/" + pod.Name }

// showEvidence logs what somebody would look at first.
func (s *story) showEvidence() {
	for _, args := range [][]string{
		{"get", "services,pods,endpointslices", "-n", s.ns, "-o", "wide"},
		{"get", "events", "-n", s.ns, "--sort-by=.metadata.creationTimestamp"},
		{"get", "ipaddresspools,l2advertisements,servicel2statuses,pods,leases", "-n", heraldNS, "-o", "wide"},
		{"get", "nodes", "--show-labels"},
	} {
		out, err := s.lab.Kubectl(s.ctx, args...)
		s.Logf("kubectl %s (error %v):\n%s", strings.Join(args, " "), err, out)
	}
	if out, err := s.client.Exec(s.ctx, "ip", "neighbour"); err == nil {
		s.Logf("the client's neighbours:\n%s", out)
	}
	for _, log := range s.stage.Logs() {
		s.Logf("last words of %s:\n%s", filepath.Base(log), stage.LastLines(log, 30))
	}
}
