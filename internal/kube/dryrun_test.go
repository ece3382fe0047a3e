// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
)

func TestDryRunWritesNothing(t *testing.T) {
	const path = "/apis/metallb.io/v1beta1/namespaces/system/ipaddresspools"
	var got []string
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.String())
		if !strings.Contains(string(body), `"name":"a"`) || !strings.Contains(string(body), "192.0.2.0/24") {
			t.Errorf("the body %s is not the pool", body)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"IPAddressPool","apiVersion":"metallb.io/v1beta1"}`)
	})
	pool := &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "a"},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24"}},
	}
	for _, version := range []string{"", "7"} {
		pool.ResourceVersion = version
		if err := client.IPAddressPools.DryRun(t.Context(), pool); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"POST " + path + "?dryRun=All", "PUT " + path + "/a?dryRun=All"}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestDryRunTellsRefusal(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		status(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	})
	err := client.IPAddressPools.DryRun(t.Context(), &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "a"}})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "system/a") {
		t.Errorf("error %v, want one that says Invalid and names the object", err)
	}
}
