// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (-X) in release builds; it is a variable because
// the linker knows no other way.
var version string

// Version returns the version of this build, the commit if the build knows it,
// and what it was built with: "v0.1.0 (commit 1a2b3c4, go1.26.8, linux/amd64)".
func Version() string {
	build, _ := debug.ReadBuildInfo()
	return describe(version, build)
}

func describe(version string, build *debug.BuildInfo) string {
	commit := ""
	if build != nil {
		if version == "" {
			version = build.Main.Version
		}
		commit = vcsCommit(build.Settings)
	}
	if version == "" {
		version = "(devel)"
	}
	return fmt.Sprintf("%s (%s%s, %s/%s)", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// vcsCommit returns "commit 1a2b3c4, ", marked if the tree had changes, or
// nothing if the build did not record it.
func vcsCommit(settings []debug.BuildSetting) string {
	values := map[string]string{}
	for _, s := range settings {
		values[s.Key] = s.Value
	}
	revision := values["vcs.revision"]
	if revision == "" {
		return ""
	}
	modified := ""
	if values["vcs.modified"] == "true" {
		modified = ", modified"
	}
	return "commit " + revision[:min(7, len(revision))] + modified + ", "
}
