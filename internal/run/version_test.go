// SPDX-License-Identifier: Apache-2.0

package run

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	suffix := runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")"
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	tests := []struct {
		name, linked string
		build        *debug.BuildInfo
		want         string
	}{
		{"nothing known", "", nil, "(devel) (" + suffix},
		{"linker", "v1.2.3", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "v1.2.3 (" + suffix},
		{"module", "", &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}}, "v0.1.0 (" + suffix},
		{"commit", "v1.2.3", &debug.BuildInfo{Settings: vcs}, "v1.2.3 (commit 0123456, modified, " + suffix},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(tt.linked, tt.build); got != tt.want {
				t.Errorf("describe() = %q, want %q", got, tt.want)
			}
		})
	}
}
