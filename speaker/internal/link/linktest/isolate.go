// SPDX-License-Identifier: Apache-2.0

package linktest

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated is the environment variable that marks a process that runs in a
// namespace of its own.
const isolated = "HERALD_TEST_NAMESPACE"

// Isolate moves the whole test process into a new network namespace and returns
// there; call it first in TestMain. The program replaces itself for that: a
// namespace belongs to a thread, and only a new program is sure to have all its
// threads in the new one. Exit status, output and coverage are as without it.
//
// Without the privilege it returns in the old namespace; Require then skips.
func Isolate() {
	if isIsolated() {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return
	}
	err := unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), isolated+"=1"))
	// The thread cannot go back, so neither can the process go on.
	panic(fmt.Sprintf("linktest: execute the test program again: %v", err))
}

func isIsolated() bool {
	return os.Getenv(isolated) != "" //nolint:forbidigo // it is how the program tells itself
}

// Require skips the test unless the process is isolated.
func Require(t testing.TB) {
	t.Helper()
	if !isIsolated() {
		t.Skip("needs root (CAP_SYS_ADMIN) to make network namespaces")
	}
}

// WithCapabilities calls fn on a thread that has no capabilities but those given
// (unix.CAP_...), and cannot get others.
func WithCapabilities(fn func() error, capabilities ...int) error {
	return onThread(func() error {
		var sets [2]unix.CapUserData
		for _, c := range capabilities {
			sets[c/32].Effective |= 1 << (c % 32)
			sets[c/32].Permitted |= 1 << (c % 32)
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capset(&header, &sets[0]); err != nil {
			return fmt.Errorf("drop capabilities: %w", err)
		}
		return fn()
	})
}
