// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestListMetadata(t *testing.T) {
	type request struct{ Path, Selector, Accept string }
	var got request
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = request{r.URL.Path, r.URL.Query().Get("labelSelector"), r.Header.Get("Accept")}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1",
			"items":[{"metadata":{"name":"l2-a","uid":"1"}},{"metadata":{"name":"l2-b","uid":"2"}}]}`)
	})
	list, err := client.ServiceL2Statuses.ListMetadata(t.Context(), "system", "metallb.io/node=a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]metav1.ObjectMeta{{Name: "l2-a", UID: "1"}, {Name: "l2-b", UID: "2"}}, list); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	want := request{"/apis/metallb.io/v1beta1/namespaces/system/servicel2statuses", "metallb.io/node=a", acceptMetadata}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestListMetadataFails(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"forbidden": func(w http.ResponseWriter, _ *http.Request) {
			status(w, http.StatusForbidden, metav1.StatusReasonForbidden)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{") },
	} {
		if _, err := serve(t, answer).ServiceL2Statuses.ListMetadata(t.Context(), "system", "a=b"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
