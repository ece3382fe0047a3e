// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// named returns a Service of which nothing matters but this.
func named(name, version string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, ResourceVersion: version}}
}

// change is what an informer has told, by resource versions.
type change struct{ Name, Old, Now string }

func told(old, now *corev1.Service) change {
	var c change
	if old != nil {
		c.Name, c.Old = old.Name, old.ResourceVersion
	}
	if now != nil {
		c.Name, c.Now = now.Name, now.ResourceVersion
	}
	return c
}

func TestStoreTellsDifferences(t *testing.T) {
	trimmed := 0
	s := newStore(func(*corev1.Service) { trimmed++ }, map[string]func(*corev1.Service) []string{
		"version": func(s *corev1.Service) []string { return []string{s.ResourceVersion} },
	})
	var got []change
	s.told = append(s.told, func(old, now *corev1.Service) { got = append(got, told(old, now)) })
	for _, step := range []struct {
		name string
		do   func() error
		want []change
	}{
		{"first list", func() error { return s.Replace([]any{named("a", "1"), named("b", "2")}, "2") }, []change{{"a", "", "1"}, {"b", "", "2"}}},
		{"added", func() error { return s.Add(named("c", "3")) }, []change{{"c", "", "3"}}},
		{"changed", func() error { return s.Update(named("a", "4")) }, []change{{"a", "1", "4"}}},
		{"removed", func() error { return s.Delete(named("b", "5")) }, []change{{"b", "2", ""}}},
		{"removed again", func() error { return s.Delete(named("b", "5")) }, nil},
		{"listed again", func() error { return s.Replace([]any{named("a", "4"), named("d", "6")}, "6") }, []change{{"d", "", "6"}, {"c", "3", ""}}},
	} {
		got = nil
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", step.name, diff)
		}
	}
	if trimmed != 2 {
		t.Errorf("%d objects were trimmed, want the two of the watch", trimmed)
	}
	if d := s.byIndex("version", "6"); len(d) != 1 || d[0].Name != "d" {
		t.Errorf("under version 6 there is %v", d)
	}
	if len(s.byIndex("version", "1"))+len(s.byIndex("version", "2"))+len(s.byIndex("unknown", "")) != 0 || len(s.found["version"]) != 2 {
		t.Errorf("the index has what is gone: %v", s.found)
	}
	if len(s.list()) != 2 {
		t.Errorf("there are %d objects, want 2", len(s.list()))
	}
}

func TestStoreTakesOnlyItsKind(t *testing.T) {
	s := newStore(func(*corev1.Service) {}, nil)
	if s.Add(new(corev1.Node)) == nil || s.Delete(new(corev1.Node)) == nil || s.Replace([]any{new(corev1.Node)}, "1") == nil {
		t.Error("a Node was taken for a Service")
	}
	if s.synced.Load() {
		t.Error("an error counts as a first list")
	}
}

// An informer asks for one consistent list, in the encoding that is read as it arrives,
// and goes on from there.
func TestInformerListsThenWatches(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter, runtime.Object){
		"protobuf": func(w http.ResponseWriter, list runtime.Object) {
			w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
			_, _ = w.Write(encoded(t, list))
		},
		"JSON": func(w http.ResponseWriter, list runtime.Object) {
			w.Header().Set("Content-Type", runtime.ContentTypeJSON)
			_ = json.NewEncoder(w).Encode(list)
		},
	} {
		t.Run(name, func(t *testing.T) { testListThenWatch(t, write) })
	}
}

func testListThenWatch(t *testing.T, write func(http.ResponseWriter, runtime.Object)) {
	requests := make(chan string, 2)
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("watch") == "" {
			requests <- "list " + q.Get("fieldSelector") + " from " + q.Get("resourceVersion") + " limit " + q.Get("limit")
			write(w, aList(2))
			return
		}
		requests <- "watch " + q.Get("fieldSelector") + " from " + q.Get("resourceVersion")
		gone := named("web-0", "200")
		gone.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_ = json.NewEncoder(w).Encode(metav1.WatchEvent{Type: "DELETED", Object: runtime.RawExtension{Object: gone}})
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	informer, err := client.Services.Informer(Watched[*corev1.Service]{
		FieldSelector: "spec.type=LoadBalancer", Trim: func(s *corev1.Service) { s.Annotations = nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	changes := make(chan change, 3)
	if err := informer.OnChange(func(old, now *corev1.Service) { changes <- told(old, now) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- informer.Run(ctx) }()
	got := []change{<-changes, <-changes, <-changes}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	slices.SortFunc(got[:2], func(a, b change) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	if diff := cmp.Diff([]change{{"web-0", "", "100"}, {"web-1", "", "101"}, {"web-0", "100", ""}}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	want := []string{"list spec.type=LoadBalancer from  limit ", "watch spec.type=LoadBalancer from 77"}
	if diff := cmp.Diff(want, []string{<-requests, <-requests}); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	left, ok := informer.Get("shop", "web-1")
	if !ok || left.Annotations != nil || !informer.Synced() {
		t.Errorf("the second Service is %+v, synced %v: want it without annotations", left, informer.Synced())
	}
}

func TestWaitForSyncEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	client := serve(t, http.NotFound)
	informer, err := client.Services.Informer(Watched[*corev1.Service]{})
	if err != nil {
		t.Fatal(err)
	}
	if err := WaitForSync(ctx, informer); !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
}
