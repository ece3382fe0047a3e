// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// outlined is what a follower has told: of the old object there is but the name.
type outlined struct{ Old, Now, Version string }

func outline(old, now *corev1.Service) outlined {
	var o outlined
	if old != nil {
		o.Old = old.Namespace + "/" + old.Name + old.ResourceVersion
	}
	if now != nil {
		o.Now, o.Version = now.Namespace+"/"+now.Name, now.ResourceVersion
	}
	return o
}

func TestLedgerTellsDifferences(t *testing.T) {
	trimmed := 0
	var got []outlined
	l := newLedger(func() *corev1.Service { return new(corev1.Service) }, func(*corev1.Service) { trimmed++ },
		func(old, now *corev1.Service) { got = append(got, outline(old, now)) })
	for _, step := range []struct {
		name string
		do   func() error
		want []outlined
	}{
		{"first list", func() error { return l.Replace([]any{named("a", "1"), named("b", "2")}, "2") }, []outlined{{"", "shop/a", "1"}, {"", "shop/b", "2"}}},
		{"added", func() error { return l.Add(named("c", "3")) }, []outlined{{"", "shop/c", "3"}}},
		{"changed", func() error { return l.Update(named("a", "4")) }, []outlined{{"shop/a", "shop/a", "4"}}},
		{"removed", func() error { return l.Delete(named("b", "5")) }, []outlined{{"shop/b", "", ""}}},
		{"removed again", func() error { return l.Delete(named("b", "5")) }, nil},
		{
			"listed again", func() error { return l.Replace([]any{named("a", "4"), named("c", "7"), named("d", "6")}, "7") },
			[]outlined{{"shop/c", "shop/c", "7"}, {"", "shop/d", "6"}},
		},
		{"listed without", func() error { return l.Replace([]any{named("a", "4"), named("d", "6")}, "8") }, []outlined{{"shop/c", "", ""}}},
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
	want := map[types.NamespacedName]string{{Namespace: "shop", Name: "a"}: "4", {Namespace: "shop", Name: "d"}: "6"}
	if diff := cmp.Diff(want, l.versions); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func TestLedgerTakesOnlyItsKind(t *testing.T) {
	l := newLedger(func() *corev1.Service { return new(corev1.Service) }, func(*corev1.Service) {}, func(_, _ *corev1.Service) {})
	if l.Add(new(corev1.Node)) == nil || l.Delete(new(corev1.Node)) == nil || l.Replace([]any{new(corev1.Node)}, "1") == nil {
		t.Error("a Node was taken for a Service")
	}
	if l.synced.Load() {
		t.Error("an error counts as a first list")
	}
}

func TestFollowerKeepsNoIndex(t *testing.T) {
	client := serve(t, func(http.ResponseWriter, *http.Request) {})
	_, err := client.Services.Follower(Watched[*corev1.Service]{Indexes: map[string]func(*corev1.Service) []string{"x": nil}}, nil)
	if err == nil {
		t.Error("a follower has an index of what it does not keep")
	}
}

// A follower tells of the list, trimmed, and then of what changes.
func TestFollowerTells(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
			_, _ = w.Write(encoded(t, aList(1)))
			return
		}
		gone := named("web-0", "200")
		gone.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_ = json.NewEncoder(w).Encode(metav1.WatchEvent{Type: "DELETED", Object: runtime.RawExtension{Object: gone}})
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	told := make(chan [2]*corev1.Service, 2)
	watched := Watched[*corev1.Service]{Trim: func(s *corev1.Service) { s.Spec = corev1.ServiceSpec{} }}
	follower, err := client.Services.Follower(watched, func(old, now *corev1.Service) { told <- [2]*corev1.Service{old, now} })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- follower.Run(ctx) }()
	if first := <-told; first[0] != nil || first[1].Name != "web-0" || first[1].Spec.Type != "" || first[1].ManagedFields != nil {
		t.Errorf("told first: %+v", first)
	}
	if second := <-told; second[1] != nil || second[0].Name != "web-0" {
		t.Errorf("told then: %+v", second)
	}
	if !follower.Synced() {
		t.Error("the list has been told of, and it is not synced")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
