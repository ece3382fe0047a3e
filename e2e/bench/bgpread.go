// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// readWord is the argument that makes this program a bare list.
const readWord = "bare-list"

// bareList is the shortest program that knows what Herald has to know of Services: it lists
// them and their EndpointSlices, at the same time and in the form that is decoded fastest,
// and ends.
func bareList(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: want KUBECONFIG NAMESPACE", readWord)
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[0])
	if err != nil {
		return err
	}
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf
	config.DisableCompression = true
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := api.CoreV1().Services(args[1]).List(ctx, metav1.ListOptions{FieldSelector: "spec.type=" + string(corev1.ServiceTypeLoadBalancer)})
		return err
	})
	group.Go(func() error {
		_, err := api.DiscoveryV1().EndpointSlices(args[1]).List(ctx, metav1.ListOptions{LabelSelector: "!" + corev1.IsHeadlessService})
		return err
	})
	return group.Wait()
}

// readRun is what a bare list took.
type readRun struct{ total, cpu time.Duration }

// runRead measures a bare list of the Services that are announced.
func (e *environment) runRead(ctx context.Context) (r readRun, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, readWord, e.lab.Kubeconfig(), routedName)
	cmd.Stderr = os.Stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("list Services: %w", err)
	}
	state := cmd.ProcessState
	return readRun{time.Since(begin), state.UserTime() + state.SystemTime()}, nil
}
