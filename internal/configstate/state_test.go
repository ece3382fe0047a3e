// SPDX-License-Identifier: Apache-2.0

package configstate

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// fakeAPI keeps one object, and tells a State of it as an informer would.
type fakeAPI struct {
	mu     sync.Mutex // guards what follows
	object *v1beta1.ConfigurationState
	writes int
	fail   error
	notify func(old, now *v1beta1.ConfigurationState)
}

var notFound = &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound}}

func (f *fakeAPI) Create(_ context.Context, namespace string, o *v1beta1.ConfigurationState) (*v1beta1.ConfigurationState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.fail != nil {
		return nil, f.fail
	}
	f.object = o.DeepCopy()
	f.object.Namespace, f.object.UID = namespace, "made"
	return f.object.DeepCopy(), nil
}

func (f *fakeAPI) Patch(_ context.Context, _, _ string, _ types.PatchType, body []byte) error {
	return f.patch(body, func(from, to *v1beta1.ConfigurationState) { to.ObjectMeta = from.ObjectMeta })
}

func (f *fakeAPI) PatchStatus(_ context.Context, _, _ string, _ types.PatchType, body []byte) error {
	return f.patch(body, func(from, to *v1beta1.ConfigurationState) { to.Status = from.Status })
}

func (f *fakeAPI) patch(body []byte, take func(from, to *v1beta1.ConfigurationState)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.object == nil {
		return notFound
	}
	if f.fail != nil {
		return f.fail
	}
	patched := f.object.DeepCopy()
	if err := json.Unmarshal(body, patched); err != nil {
		return err
	}
	take(patched, f.object)
	return nil
}

func (f *fakeAPI) Informer(kube.Watched[*v1beta1.ConfigurationState]) (*kube.Informer[*v1beta1.ConfigurationState], error) {
	return nil, errors.New("not here")
}

// delete deletes the object behind the State's back.
func (f *fakeAPI) delete() {
	f.mu.Lock()
	old := f.object
	f.object = nil
	f.mu.Unlock()
	f.notify(old, nil)
}

func conflict() []lb.Problem {
	return []lb.Problem{{
		Object: lb.Object{Kind: "BGPPeer", Namespace: "system", Name: "b"}, Field: "spec.myASN", Reason: lb.ReasonConflict, Message: "is another",
	}}
}

// inState runs f with a State of the speaker on node a that writes.
func inState(t *testing.T, api *fakeAPI, f func(*State)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{
			API: api, Namespace: "system", Node: "a", PodName: "speaker-x", PodUID: "pod-x", Log: slog.New(slog.DiscardHandler),
		})
		api.notify = s.OnObject
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.write(ctx) })
		f(s)
		cancel()
		running.Wait()
	})
}

// settle waits for all writes that come without a new cause.
func settle() {
	time.Sleep(5 * time.Minute)
	synctest.Wait()
}

func (f *fakeAPI) expect(t *testing.T, result v1beta1.ConfigurationResult, summary, reason string, writes int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.object == nil {
		t.Fatal("there is no object")
	}
	got := []any{f.object.Name, f.object.Status.Result, f.object.Status.ErrorSummary, f.object.Status.Conditions[0].Reason, f.writes}
	want := []any{"speaker-a", result, summary, reason, writes}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
	f.writes = 0
}

func TestState(t *testing.T) {
	api := new(fakeAPI)
	inState(t, api, func(s *State) {
		settle()
		if api.writes != 0 {
			t.Error("something was written before anything was known")
		}
		s.Report(nil)
		settle()
		api.expect(t, v1beta1.ConfigurationValid, "", v1beta1.ReasonReconciled, 2)
		if diff := cmp.Diff(map[string]string{v1beta1.LabelComponentType: "speaker", v1beta1.LabelNodeName: "a"}, api.object.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
		since := api.object.Status.Conditions[0].LastTransitionTime

		s.Report(append(conflict(), lb.Problem{Reason: lb.ReasonRedundant, Message: "costs nothing"}))
		settle()
		const words = "BGPPeer system/b: spec.myASN: is another"
		api.expect(t, v1beta1.ConfigurationInvalid, words, v1beta1.ReasonConfigurationError, 1)
		if !api.object.Status.Conditions[0].LastTransitionTime.After(since.Time) {
			t.Error("the condition changed without a new time")
		}
		s.Report(conflict())
		settle()
		api.expect(t, v1beta1.ConfigurationInvalid, words, v1beta1.ReasonConfigurationError, 0)

		api.delete()
		settle()
		api.expect(t, v1beta1.ConfigurationInvalid, words, v1beta1.ReasonConfigurationError, 2)

		s.Report(nil)
		settle()
		api.expect(t, v1beta1.ConfigurationValid, "", v1beta1.ReasonReconciled, 1)
	})
}

// The object of the pod before would go with it.
func TestAdoption(t *testing.T) {
	api := &fakeAPI{object: &v1beta1.ConfigurationState{ObjectMeta: metav1.ObjectMeta{
		Name: "speaker-a", UID: "found", OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: "speaker-w", UID: "pod-w"}},
	}}}
	inState(t, api, func(s *State) {
		api.notify(nil, api.object.DeepCopy())
		s.Report(nil)
		settle()
		api.expect(t, v1beta1.ConfigurationValid, "", v1beta1.ReasonReconciled, 2)
		if got := api.object.OwnerReferences; len(got) != 1 || got[0].UID != "pod-x" {
			t.Errorf("the owners are %v, want pod-x alone", got)
		}
	})
}

func TestWritesAreTriedAgain(t *testing.T) {
	api := &fakeAPI{fail: errors.New("no")}
	inState(t, api, func(s *State) {
		s.Report(nil)
		settle()
		api.mu.Lock()
		if api.writes < 5 || api.writes > 15 {
			t.Errorf("%d attempts in five minutes, want some", api.writes)
		}
		api.fail, api.writes = nil, 0
		api.mu.Unlock()
		settle()
		api.expect(t, v1beta1.ConfigurationValid, "", v1beta1.ReasonReconciled, 2)
	})
}
