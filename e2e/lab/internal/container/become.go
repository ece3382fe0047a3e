// SPDX-License-Identifier: Apache-2.0

package container

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Become turns the calling program, which Command started, into the container's
// program. It returns only if it cannot.
func Become() error {
	var spec Spec
	if err := json.Unmarshal([]byte(os.Getenv(variable)), &spec); err != nil {
		return fmt.Errorf("read container's specification from %s: %w", variable, err)
	}
	runtime.LockOSThread() // capabilities are a thread's own
	if err := spec.buildRoot(); err != nil {
		return fmt.Errorf("build root file system: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := spec.dropPrivileges(); err != nil {
		return fmt.Errorf("drop privileges: %w", err)
	}
	err := unix.Exec(spec.Entry, append([]string{spec.Entry}, spec.Args...), spec.Env)
	return fmt.Errorf("execute %s: %w", spec.Entry, err)
}

// buildRoot fills a tmpfs and makes it the root.
func (s Spec) buildRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", s.Root, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	mounts := []Mount{{Source: s.Program, Target: s.Entry, ReadOnly: true}}
	mounts = append(mounts, devices()...)
	mounts = append(mounts, s.libraries()...)
	for _, m := range append(mounts, s.Mounts...) {
		if err := bind(m.Source, filepath.Join(s.Root, m.Target), m.ReadOnly); err != nil {
			return err
		}
	}
	for target, kind := range map[string]string{"proc": "proc", "sys": "sysfs"} {
		if err := mountKernel(filepath.Join(s.Root, target), kind); err != nil {
			return err
		}
	}
	if err := s.writeEtc(); err != nil {
		return err
	}
	return s.pivot()
}

func devices() []Mount {
	var mounts []Mount
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		mounts = append(mounts, Mount{Source: "/dev/" + name, Target: "/dev/" + name})
	}
	return mounts
}

// libraries returns the machine's shared libraries if the program needs any. A
// released binary is static; one built with the race detector is not.
func (s Spec) libraries() []Mount {
	f, err := elf.Open(s.Program)
	if err != nil {
		return nil // execve will say what is wrong with it
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		var mounts []Mount
		for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} {
			if _, err := os.Stat(dir); err == nil {
				mounts = append(mounts, Mount{Source: dir, Target: dir, ReadOnly: true})
			}
		}
		return mounts
	}
	return nil
}

func bind(source, target string, readOnly bool) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	if err := makeMountPoint(target, st.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", target, err)
	}
	return nil
}

func makeMountPoint(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	return f.Close()
}

func mountKernel(target, kind string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if kind == "sysfs" {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(kind, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s: %w", kind, err)
	}
	return nil
}

func (s Spec) writeEtc() error {
	etc := filepath.Join(s.Root, "etc")
	hosts := "127.0.0.1 localhost\n::1 localhost\n"
	return errors.Join(
		os.MkdirAll(etc, 0o755),
		os.WriteFile(filepath.Join(etc, "hosts"), []byte(hosts), 0o644),
		os.WriteFile(filepath.Join(etc, "hostname"), []byte(s.Hostname+"\n"), 0o644),
	)
}

// pivot makes s.Root the root and lets go of the machine's.
func (s Spec) pivot() error {
	if err := unix.Chdir(s.Root); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	// Both on one path: the old root ends up on top of the new one, from where it
	// is taken off (pivot_root(2), NOTES).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if !s.ReadOnly {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID, ""); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return nil
}
