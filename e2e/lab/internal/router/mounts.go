// SPDX-License-Identifier: Apache-2.0

package router

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	etcDir = "/etc/frr"
	runDir = "/run/frr"
	// owner is whom FRR's daemons become.
	owner = "frr"
)

// Hold is what the lab's binary does when it is called to hold a router's mount
// and host name namespaces, into which it has been started: it makes them what
// FRR expects and then waits to be killed. etc is the directory to show as
// /etc/frr.
func Hold(name, etc string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	uid, gid, err := frrUser()
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// The source may be below /run, so this comes before /run is covered.
	if err := unix.Mount(etc, etcDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", etcDir, err)
	}
	for _, dir := range []string{"/run", "/var/tmp"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := errors.Join(os.Mkdir(runDir, 0o755), os.Chown(runDir, uid, gid)); err != nil {
		return fmt.Errorf("create %s: %w", runDir, err)
	}
	// Written last: whoever waits for the mounts waits for this.
	if err := os.WriteFile(filepath.Join("/run", readyFile), nil, 0o644); err != nil {
		return fmt.Errorf("report mounts: %w", err)
	}
	for {
		_ = unix.Pause() // returns when a signal was caught, which is no end
	}
}

const readyFile = "mounts-ready"

func frrUser() (uid, gid int, err error) {
	u, err := user.Lookup(owner)
	if err != nil {
		return 0, 0, fmt.Errorf("find FRR's user (is the package frr installed?): %w", err)
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, fmt.Errorf("read id of user %s: %w", owner, err)
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// holdCommand returns the command that ends in Hold.
func holdCommand(shim, word, name, etc string) *exec.Cmd {
	cmd := exec.Command(shim, word, name, etc)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS}
	return cmd
}
