// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"encoding/json"
	"net/netip"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/lab/internal/child"
)

// ReadyAnnotation on a pod overrides what its readiness probes say: "false" makes
// it not ready. A test's way to take an endpoint away without a change of the
// program.
const ReadyAnnotation = "lab.herald-lb.io/ready"

// reportStatus writes the pod's status whenever it differs from what was last
// written, until ctx ends.
func (r *runner) reportStatus(ctx context.Context) {
	var written *corev1.PodStatus
	began := metav1.Now().Rfc3339Copy()
	retryTimer := time.NewTimer(0)
	defer retryTimer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.bell:
		case <-retryTimer.C:
		}
		status := r.status(began, written)
		if written != nil && reflect.DeepEqual(status, *written) {
			continue
		}
		if err := r.writeStatus(ctx, status); err != nil {
			if ctx.Err() == nil {
				r.log.Warn("write status of pod", "error", err)
			}
			retryTimer.Reset(200 * time.Millisecond)
			continue
		}
		written = &status
	}
}

func (r *runner) writeStatus(ctx context.Context, status corev1.PodStatus) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": r.pod.UID}, // refused if the name is another pod's by now
		"status":   status,
	})
	if err != nil {
		return err
	}
	_, err = r.kubelet.config.Client.CoreV1().Pods(r.pod.Namespace).
		Patch(ctx, r.pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted; the queue will tell
	}
	return err
}

// status works out what the pod's status is now. Times of transitions come from
// the previous one where nothing has changed.
func (r *runner) status(began metav1.Time, previous *corev1.PodStatus) corev1.PodStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := corev1.PodStatus{
		Phase:     corev1.PodPending,
		StartTime: &began,
		HostIP:    r.node.Addresses[0].String(),
		QOSClass:  r.latest.Status.QOSClass,
	}
	for _, a := range r.node.Addresses {
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: a.String()})
	}
	ready := len(r.containers) > 0
	for _, c := range r.containers {
		status := c.status()
		ready = ready && status.Ready
		s.ContainerStatuses = append(s.ContainerStatuses, status)
	}
	if len(r.containers) > 0 {
		s.Phase = corev1.PodRunning
		s.PodIP = r.addresses[0].String()
		for _, a := range r.addresses {
			s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: a.String()})
		}
	} else {
		s.ContainerStatuses = r.waitingStatuses()
	}
	serving := ready && r.latest.Annotations[ReadyAnnotation] != "false"
	for _, condition := range []struct {
		kind  corev1.PodConditionType
		holds bool
	}{
		{corev1.PodScheduled, true},
		{corev1.PodInitialized, len(r.containers) > 0},
		{corev1.ContainersReady, ready},
		{corev1.PodReady, serving},
	} {
		s.Conditions = append(s.Conditions, transition(condition.kind, condition.holds, previous))
	}
	return s
}

// waitingStatuses say why no container has been started yet.
func (r *runner) waitingStatuses() []corev1.ContainerStatus {
	var list []corev1.ContainerStatus
	for _, c := range r.pod.Spec.Containers {
		list = append(list, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating", Message: r.waiting},
		}})
	}
	return list
}

func (c *Container) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.event
	s := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image,
		RestartCount: int32(e.Restarts),
	}
	if c.last != nil {
		s.LastTerminationState.Terminated = c.last
	}
	switch {
	case e.Err != nil:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "RunContainerError", Message: e.Err.Error()}
	case e.Ended:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "restarts in " + e.Backoff.String()}
	case e.Child == nil:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	default:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(e.Child.Started()).Rfc3339Copy()}
		s.Ready = c.started && c.ready
	}
	started := c.started
	s.Started = &started
	return s
}

func terminated(c *child.Child) *corev1.ContainerStateTerminated {
	state := c.Exit()
	if state == nil {
		return nil
	}
	t := &corev1.ContainerStateTerminated{
		ExitCode:   int32(state.ExitCode()),
		Reason:     "Completed",
		StartedAt:  metav1.NewTime(c.Started()).Rfc3339Copy(),
		FinishedAt: metav1.Now().Rfc3339Copy(),
	}
	if !state.Success() {
		t.Reason, t.Message = "Error", state.String()
	}
	return t
}

func transition(kind corev1.PodConditionType, holds bool, previous *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now().Rfc3339Copy()}
	if holds {
		c.Status = corev1.ConditionTrue
	}
	if previous == nil {
		return c
	}
	for _, old := range previous.Conditions {
		if old.Type == kind && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	return c
}

func addressTexts(addresses []netip.Addr) []string {
	list := make([]string, len(addresses))
	for i, a := range addresses {
		list[i] = a.String()
	}
	return list
}
