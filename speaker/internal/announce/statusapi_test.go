// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
)

// fakeStatusAPI is an API server for ServiceL2Status objects. Those who watch hear of
// changes a while later.
type fakeStatusAPI struct {
	mu       sync.Mutex // guards what follows
	objects  map[string]*v1beta1.ServiceL2Status
	watchers []*watcher
	next     int
	requests []string
	failing  int // requests that will fail
}

// watcher gets the changes of the objects that its selector matches, in order.
type watcher struct {
	statuses *Statuses
	selector labels.Selector
	changes  chan change
}

type change struct{ old, now *v1beta1.ServiceL2Status }

// watchLag is how late a watcher hears of a change.
const watchLag = 300 * time.Millisecond

func newFakeStatusAPI() *fakeStatusAPI {
	return &fakeStatusAPI{objects: make(map[string]*v1beta1.ServiceL2Status)}
}

// watch calls OnStatus as an informer would, until stop is called.
func (f *fakeStatusAPI) watch(s *Statuses) (stop func()) {
	selector, err := labels.Parse(s.Selector())
	if err != nil {
		panic(err)
	}
	w := &watcher{statuses: s, selector: selector, changes: make(chan change, 10_000)}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.objects {
		w.tell(change{now: o})
	}
	f.watchers = append(f.watchers, w)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c := range w.changes {
			time.Sleep(watchLag)
			w.statuses.OnStatus(c.old, c.now)
		}
	}()
	return func() {
		f.mu.Lock()
		f.watchers = slices.DeleteFunc(f.watchers, func(o *watcher) bool { return o == w })
		close(w.changes)
		f.mu.Unlock()
		<-done
	}
}

func (w *watcher) tell(c change) {
	o := c.now
	if o == nil {
		o = c.old
	}
	if w.selector.Matches(labels.Set(o.Labels)) {
		w.changes <- c
	}
}

// put stores now in the place of old. The caller holds the lock.
func (f *fakeStatusAPI) put(old, now *v1beta1.ServiceL2Status) {
	if now == nil {
		delete(f.objects, old.Name)
	} else {
		f.objects[now.Name] = now
	}
	for _, w := range f.watchers {
		w.tell(change{old, now})
	}
}

// request counts a request and says whether it fails. The caller holds the lock.
func (f *fakeStatusAPI) request(verb string) error {
	f.requests = append(f.requests, verb)
	if f.failing > 0 {
		f.failing--
		return errors.New("the API server is not well")
	}
	return nil
}

func (f *fakeStatusAPI) Create(_ context.Context, namespace string, obj *v1beta1.ServiceL2Status) (*v1beta1.ServiceL2Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request("create"); err != nil {
		return nil, err
	}
	f.next++
	created := obj.DeepCopy()
	created.Namespace, created.Name = namespace, fmt.Sprintf("%s%d", obj.GenerateName, f.next)
	created.UID = types.UID("uid-" + created.Name)
	created.Status = v1beta1.MetalLBServiceL2Status{} // the status has a path of its own
	f.put(nil, created)
	return created, nil
}

func (f *fakeStatusAPI) PatchStatus(_ context.Context, _, name string, kind types.PatchType, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request("patch"); err != nil {
		return err
	}
	old, ok := f.objects[name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "servicel2statuses"}, name)
	}
	if kind != types.MergePatchType {
		return fmt.Errorf("patch type %s", kind)
	}
	now := old.DeepCopy()
	if err := json.Unmarshal(body, now); err != nil {
		return err
	}
	f.put(old, now)
	return nil
}

func (f *fakeStatusAPI) Delete(_ context.Context, _, name string, uid types.UID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request("delete"); err != nil {
		return err
	}
	if old, ok := f.objects[name]; ok && old.UID == uid {
		f.put(old, nil)
	}
	return nil
}

func (f *fakeStatusAPI) ListMetadata(_ context.Context, _, labelSelector string) ([]metav1.ObjectMeta, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.request("list"); err != nil {
		return nil, err
	}
	selector, err := labels.Parse(labelSelector)
	if err != nil {
		return nil, err
	}
	var list []metav1.ObjectMeta
	for _, o := range f.objects {
		if selector.Matches(labels.Set(o.Labels)) {
			list = append(list, o.ObjectMeta)
		}
	}
	return list, nil
}

// remove deletes the objects of a Service, as somebody else would.
func (f *fakeStatusAPI) remove(service string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.objects {
		if o.Labels[v1beta1.LabelServiceName] == service {
			f.put(o, nil)
		}
	}
}

// add stores an object that a speaker on the node has left, owned by a pod.
func (f *fakeStatusAPI) add(name, node, service, pod string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(nil, &v1beta1.ServiceL2Status{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-" + name),
			Labels: map[string]string{
				v1beta1.LabelNode: node, v1beta1.LabelServiceName: service, v1beta1.LabelServiceNamespace: "default",
			},
			OwnerReferences: []metav1.OwnerReference{{UID: types.UID(pod)}},
		},
		Status: v1beta1.MetalLBServiceL2Status{Node: node, ServiceName: service, ServiceNamespace: "default"},
	})
}

// statuses returns "service node interfaces" of each object, sorted.
func (f *fakeStatusAPI) statuses() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, o := range f.objects {
		words := []string{o.Status.ServiceName, o.Status.Node}
		for _, i := range o.Status.Interfaces {
			words = append(words, i.Name)
		}
		all = append(all, strings.Join(words, " "))
	}
	slices.Sort(all)
	return all
}

// takeRequests returns the requests since the last call.
func (f *fakeStatusAPI) takeRequests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.requests
	f.requests = nil
	return taken
}
