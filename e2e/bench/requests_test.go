// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRequests(t *testing.T) {
	got, err := parseRequests([]byte(`# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="services",scope="resource",subresource="status",verb="PATCH",version="v1"} 1.0e+03
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="services",scope="resource",subresource="status",verb="PATCH",version="v1"} 2
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="events",scope="resource",subresource="",verb="POST",version="v1"} 7
apiserver_request_duration_seconds_count{resource="events",verb="POST"} 7
`))
	want := map[apiRequest]int{statusWrite: 1002, eventWrite: 7}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(apiRequest{})); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if _, err := parseRequests([]byte(`apiserver_request_total{verb="PATCH"} many`)); err == nil {
		t.Error("a count that is no number is accepted")
	}
}
