// SPDX-License-Identifier: Apache-2.0

package container

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spec says what to run.
type Spec struct {
	// Root is an empty directory to build the root file system on.
	Root string
	// Program is the file on the machine, Entry its path inside.
	Program, Entry string
	// Args do not include the program's name.
	Args []string
	// Env is the whole environment.
	Env      []string
	Hostname string
	Mounts   []Mount
	// ReadOnly makes everything but the mounts read-only.
	ReadOnly bool
	UID, GID int
	// Capabilities are the bounding set, by names without CAP_. As with every
	// container runtime, a user other than root gets none of them.
	Capabilities []string
	// NoNewPrivileges is prctl(2)'s PR_SET_NO_NEW_PRIVS.
	NoNewPrivileges bool
}

// Mount shows a file or directory of the machine inside.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// variable carries the Spec to the started copy of the lab's binary, which does
// not hand it on.
const variable = "HERALD_LAB_CONTAINER"

// Command returns the command that becomes the program: shim is the lab's
// binary, args what makes it call Become.
func Command(spec Spec, shim string, args ...string) (*exec.Cmd, error) {
	for _, name := range spec.Capabilities {
		if _, ok := capabilityNumber(name); !ok {
			return nil, fmt.Errorf("start container: unknown capability %q", name)
		}
	}
	if err := os.MkdirAll(spec.Root, 0o755); err != nil {
		return nil, fmt.Errorf("start container: %w", err)
	}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("start container: %w", err)
	}
	cmd := exec.Command(shim, args...)
	cmd.Env = []string{variable + "=" + string(encoded)}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	return cmd, nil
}
