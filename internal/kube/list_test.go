// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEachReadsAllPages(t *testing.T) {
	var queries []string
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		queries = append(queries, fmt.Sprint(r.URL.Path, " ", q.Get("fieldSelector"), " ", q.Get("limit"), " ", q.Get("continue")))
		list := corev1.ServiceList{
			TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: "77", Continue: "page-2"},
			Items:    []corev1.Service{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}}},
		}
		if q.Get("continue") != "" {
			list.Continue, list.Items = "", list.Items[:1]
			list.Items[0].Name = "c"
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	var names []string
	version, err := client.Services.Each(t.Context(), Watched[*corev1.Service]{FieldSelector: "spec.type=LoadBalancer"},
		func(s *corev1.Service) { names = append(names, s.Name) })
	if err != nil || version != "77" {
		t.Errorf("resource version %q, error %v; want 77 and none", version, err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	want := []string{"/api/v1/services spec.type=LoadBalancer 500 ", "/api/v1/services spec.type=LoadBalancer 500 page-2"}
	if diff := cmp.Diff(want, queries); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestEachReportsWhatItCannotRead(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		status(w, http.StatusForbidden, metav1.StatusReasonForbidden)
	})
	_, err := client.Services.Each(t.Context(), Watched[*corev1.Service]{}, func(*corev1.Service) { t.Error("there was an object") })
	if err == nil {
		t.Error("no error")
	}
}
