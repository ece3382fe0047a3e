// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/lab/internal/controlplane"
	"github.com/herald-lb/herald/e2e/lab/internal/fabric"
	"github.com/herald-lb/herald/e2e/lab/internal/kubelet"
)

// CutLink unplugs a cable, named by one of its ends such as "k8s-worker:eth1".
// The named host sees an interface that is up and has no carrier.
func (l *Lab) CutLink(endpoint string) error { return l.fabric.SetLink(endpoint, false) }

// RestoreLink plugs a cable in again.
func (l *Lab) RestoreLink(endpoint string) error { return l.fabric.SetLink(endpoint, true) }

// Lose makes a link drop that many percent of its frames at random, both ways.
// Zero makes it whole.
func (l *Lab) Lose(ctx context.Context, endpoint string, percent int) error {
	return l.fabric.Lose(ctx, endpoint, percent)
}

// Partition drops every frame between the hosts of a and those of b, on all
// switches and on the management network; "control-plane" can be among them.
// Partitions add up until Heal.
func (l *Lab) Partition(ctx context.Context, a, b []string) error {
	return l.fabric.Partition(ctx, a, b)
}

// Silence drops every frame from the hosts of the first set to those of the second, as
// Partition does in both directions: those still are heard by these.
func (l *Lab) Silence(ctx context.Context, from, to []string) error {
	return l.fabric.Silence(ctx, from, to)
}

// Heal ends all partitions and silences.
func (l *Lab) Heal(ctx context.Context) error { return l.fabric.Heal(ctx) }

// signaller is a process that can be broken.
type signaller interface {
	PID() int
	Signal(sig syscall.Signal) error
}

// Pause stops a process where it is (SIGSTOP), until Continue.
func (l *Lab) Pause(target string) error { return l.signal(target, syscall.SIGSTOP) }

// Continue lets a paused process go on.
func (l *Lab) Continue(target string) error { return l.signal(target, syscall.SIGCONT) }

// Kill ends a process without warning (SIGKILL). The lab starts it again at once.
func (l *Lab) Kill(target string) error { return l.signal(target, syscall.SIGKILL) }

// Terminate asks a process to end (SIGTERM). The lab starts it again when it has.
func (l *Lab) Terminate(target string) error { return l.signal(target, syscall.SIGTERM) }

func (l *Lab) signal(target string, sig syscall.Signal) error {
	p, err := l.target(target)
	if err != nil {
		return err
	}
	return p.Signal(sig)
}

// PID returns the process id of a target, or 0 while it is not running.
func (l *Lab) PID(target string) (int, error) {
	p, err := l.target(target)
	if err != nil {
		return 0, err
	}
	return p.PID(), nil
}

// target finds a process by "NODE/CONTAINER", "NODE/POD", "NODE/kube-proxy",
// "ROUTER/DAEMON" or "control-plane/PROGRAM".
func (l *Lab) target(name string) (signaller, error) {
	host, program, ok := strings.Cut(name, "/")
	if !ok {
		return nil, fmt.Errorf("find process %q: want HOST/NAME, such as k8s-worker/speaker", name)
	}
	if host == fabric.ControlPlane {
		if k := l.control.Keeper(program); k != nil {
			return k, nil
		}
		return nil, fmt.Errorf("find process %q: the control plane has %s, %s and %s", name,
			controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager)
	}
	if r := l.routers[host]; r != nil {
		if k := r.Keeper(program); k != nil {
			return k, nil
		}
		return nil, fmt.Errorf("find process %q: the router runs %s", name, strings.Join(r.Daemons(), ", "))
	}
	n, err := l.Node(host)
	if err != nil {
		return nil, err
	}
	if program == "kube-proxy" {
		return n.proxy, nil
	}
	found, err := l.kubelet.Containers(host, program)
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		var names []string
		for _, c := range found {
			names = append(names, c.Name())
		}
		return nil, fmt.Errorf("find process %q: it could be any of %s; name the pod", name, strings.Join(names, ", "))
	}
	return found[0], nil
}

// StopAPIServer ends the API server and keeps it down.
func (l *Lab) StopAPIServer(ctx context.Context) error {
	return l.control.Keeper(controlplane.APIServer).Hold(ctx, 0)
}

// StartAPIServer lets the API server run again and waits until it is ready.
func (l *Lab) StartAPIServer(ctx context.Context) error {
	l.control.Keeper(controlplane.APIServer).Release()
	return l.control.WaitReady(ctx)
}

// RestartAPIServer kills the API server, starts it again and waits until it is
// ready.
func (l *Lab) RestartAPIServer(ctx context.Context) error {
	if err := l.StopAPIServer(ctx); err != nil {
		return err
	}
	return l.StartAPIServer(ctx)
}

// SetReady overrides a pod's readiness: false makes it not ready whatever its
// probes say, true leaves it to them. It is an annotation; the pod's conditions
// and the endpoint slices follow.
func (l *Lab) SetReady(ctx context.Context, namespace, pod string, ready bool) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{kubelet.ReadyAnnotation: strconv.FormatBool(ready)},
	}})
	if err != nil {
		return fmt.Errorf("set readiness of pod %s/%s: %w", namespace, pod, err)
	}
	if _, err := l.clientset.CoreV1().Pods(namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("set readiness of pod %s/%s: %w", namespace, pod, err)
	}
	return nil
}
