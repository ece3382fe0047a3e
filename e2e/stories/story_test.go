// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

// patience is how long a story waits for what should be there in a second or two, on a
// machine that may be busy with other things.
const patience = 30 * time.Second

// story is one story being told. Its sentences fail the test themselves.
type story struct {
	*testing.T
	*world
	ctx context.Context
	// ns is the story's own namespace.
	ns string
	// pools are removed when the story ends.
	pools    []*pool
	canaries int
	evidence sync.Once
}

var stories atomic.Int32

// begin opens a story: with a namespace of its own, and with evidence if it ends badly.
func begin(t *testing.T) *story {
	t.Helper()
	s := &story{T: t, world: theWorld(t), ctx: t.Context(), ns: fmt.Sprintf("story-%d", stories.Add(1))}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.ns}}
	_, err := s.api().CoreV1().Namespaces().Create(s.ctx, namespace, metav1.CreateOptions{})
	s.must(err)
	s.afterwards(s.end)
	return s
}

// afterwards has something undone when the story ends, well or badly.
func (s *story) afterwards(undo func()) {
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*patience)
		defer cancel()
		s.ctx = ctx // the test's own has ended
		if s.Failed() {
			s.evidence.Do(s.showEvidence) // before anything is undone
		}
		undo()
	})
}

// end takes the story's Services, pods and pools away. The rest of the namespace
// disappears in its own time.
func (s *story) end() {
	core := s.api().CoreV1()
	services, err := core.Services(s.ns).List(s.ctx, metav1.ListOptions{})
	s.check(err)
	for _, service := range services.Items {
		s.check(core.Services(s.ns).Delete(s.ctx, service.Name, metav1.DeleteOptions{}))
	}
	now := int64(0)
	s.check(core.Pods(s.ns).DeleteCollection(s.ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}))
	for _, p := range s.pools {
		s.deletePool(p)
	}
	s.check(core.Namespaces().Delete(s.ctx, s.ns, metav1.DeleteOptions{}))
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// check is for clean-up: it reports an error but goes on. Gone already is fine.
func (s *story) check(err error) {
	s.Helper()
	if err != nil && !apierrors.IsNotFound(err) {
		s.Errorf("clean up: %v", err)
	}
}

// await returns when the condition has no error any more.
func (s *story) await(limit time.Duration, what string, condition func() error) {
	s.Helper()
	s.must(stage.Await(s.ctx, limit, what, condition))
}

// apply is kubectl apply.
func (s *story) apply(manifest string) {
	s.Helper()
	s.must(s.lab.Apply(s.ctx, manifest))
}

// kubectl returns what kubectl prints.
func (s *story) kubectl(args ...string) string {
	s.Helper()
	out, err := s.lab.Kubectl(s.ctx, args...)
	if err != nil {
		s.Fatalf("%v\n%s", err, out)
	}
	return out
}

// api is the cluster's API, for its administrator.
func (s *story) api() kubernetes.Interface { return s.lab.Clientset() }

// read fills into with the JSON at path, for kinds that the clientset does not know.
func (s *story) read(path string, into any) error {
	raw, err := s.api().CoreV1().RESTClient().Get().AbsPath(path).DoRaw(s.ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
