// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

func TestServerTasksFollowTheOptions(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"defaults", nil, []string{"health server", "metrics server"}},
		{"all", []string{"--pprof-bind-address=127.0.0.1:6060"}, []string{"health server", "metrics server", "profile server"}},
		{"none", []string{"--port=0", "--health-probe-port=0"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, code, _, stderr := parse(t, nil, append(tt.args, "--namespace=x")...)
			if code != ExitOK {
				t.Fatal(stderr)
			}
			tasks, err := ServerTasks("speaker", o, Probes{}, NewRegistry(), &rest.Config{Host: "http://192.0.2.1"}, discard())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, task := range tasks {
				got = append(got, task.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerTasksNeedTheCertificateTheyAreGiven(t *testing.T) {
	o := options()
	o.MetricsCertDir = t.TempDir()
	_, err := ServerTasks("speaker", o, Probes{}, NewRegistry(), &rest.Config{}, discard())
	if err == nil || !strings.Contains(err.Error(), o.MetricsCertDir) {
		t.Errorf("ServerTasks() = %v, want an error that names the directory", err)
	}
}

func TestRegistryKnowsTheProcess(t *testing.T) {
	families, err := NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, family := range families {
		names[family.GetName()] = true
	}
	for _, want := range []string{"herald_build_info", "go_goroutines", "process_resident_memory_bytes"} {
		if !names[want] {
			t.Errorf("no metric %s", want)
		}
	}
}
